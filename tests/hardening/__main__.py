"""python -m tests.hardening [--headers N] [--seed S] [--first NUMBER]

Runs N mutated inputs of each kind that is named through the functions that commands use. Each may end well or with a
LayertuneError of one line, within 2 s and 300 MB; anything else is a fault, and the exit status is 1. `--headers 1
--seed S --first NUMBER` runs one case again. docs/robustness.md has the results.
"""

import argparse
import sys
import time

from tests.hardening.kinds import KINDS
from tests.hardening.runner import Summary, run

_EVERY = 1000  # cases between two lines of progress
_MOST_FAULTS = 20  # shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hardening")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0, metavar="N", help=f"how many mutated {kind}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="the first case's number")
    options = vars(parser.parse_args())
    n_faults = 0
    for kind in KINDS:
        if options[kind]:
            began = time.monotonic()
            summary = run(kind, options[kind], options["seed"], first=options["first"], progress=_progress)
            n_faults += len(summary.faults)
            print(_table(kind, summary, time.monotonic() - began))
    return 1 if n_faults else 0


def _progress(summary: Summary) -> None:
    if summary.faults and summary.faults[-1].number == summary.last:
        print(f"case {summary.last}: {summary.faults[-1].words}", file=sys.stderr)
    if summary.n_cases % _EVERY == 0:
        print(f"{summary.n_cases} cases, {len(summary.faults)} faults", file=sys.stderr)


def _table(kind: str, summary: Summary, took_s: float) -> str:
    slowest_s, slowest = summary.slowest_s
    largest_bytes, largest = summary.largest_bytes
    outcomes = summary.outcomes
    lines = [
        f"{kind}: {summary.n_cases} cases in {took_s:.0f} s",
        f"  accepted {outcomes['accepted']}, refused {outcomes['refused']}, faults {len(summary.faults)}",
        f"  slowest {slowest_s:.2f} s (case {slowest}), largest {largest_bytes / 1e6:.1f} MB (case {largest})",
        *(f"  fault: case {fault.number}: {fault.words}" for fault in summary.faults[:_MOST_FAULTS]),
    ]
    if len(summary.faults) > _MOST_FAULTS:
        lines.append(f"  and {len(summary.faults) - _MOST_FAULTS} faults more")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
