"""Runs cases one after the other and reports each as a line of JSON: `python -m tests.hardening.worker KIND SEED FIRST
END`, which `runner` starts."""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import TracebackType

from tests.hardening.attack import Case
from tests.hardening.kinds import KINDS
from tests.hardening.limits import CASE_BYTES, CASE_S, Meter, TooSlow, enforce

from layertune.errors import LayertuneError

_LONGEST_MESSAGE = 2100  # characters; errors.py shortens what and remedy to 1000 each


def main(kind: str, seed: str, first: int, end: int) -> None:
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what a command prints is no report
    attack, meter = KINDS[kind](), Meter()
    enforce()
    with tempfile.TemporaryDirectory() as folder:
        attack.start(Path(folder))
        for number in range(first, end):
            case = attack.case(Random(f"{kind} {seed} {number}"))
            outcome, words = run_case(case, meter)
            report = {
                "number": number,
                "outcome": outcome,
                "words": words,
                "seconds": meter.seconds,
                "grown_bytes": meter.grown_bytes,
            }
            reports.write(json.dumps(report) + "\n")


def run_case(case: Case, meter: Meter) -> tuple[str, str]:
    """Return how the case ended, `accepted`, `refused` or `fault`, and in what words."""
    outcome, words = _ended(case, meter)
    if outcome != "fault" and meter.seconds > CASE_S:
        return "fault", f"took {meter.seconds:.1f} s: {words}"
    if outcome != "fault" and meter.grown_bytes > CASE_BYTES:
        return "fault", f"took {meter.grown_bytes / 1e6:.0f} MB: {words}"
    return outcome, words


def _ended(case: Callable[[], object], meter: Meter) -> tuple[str, str]:
    try:
        with meter.case():
            case()
    except LayertuneError as error:
        words = str(error)
        if len(words) > _LONGEST_MESSAGE:  # line ends in it are made visible where it is printed
            return "fault", f"its message has {len(words)} characters: {words[:200]!r}"
        return "refused", words
    except TooSlow:
        return "fault", f"took more than {CASE_S:g} s: {_place(sys.exc_info()[2])}"
    except MemoryError:
        return "fault", f"took more than {CASE_BYTES / 1e6:.0f} MB: {_place(sys.exc_info()[2])}"
    except BaseException as error:
        return "fault", f"{type(error).__name__}: {str(error)[:200]} {_place(error.__traceback__)}"
    return "accepted", ""


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-5:]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
