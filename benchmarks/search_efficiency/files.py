"""How many more trials does a search need if each model has three files?

    python benchmarks/search_efficiency/files.py [--seeds 20] [--jobs 2]

Runs the real search on the recorded table of a pair with three files for each model, on several cards, each once with
all files and once with the first file of each model only. The layers between the recorded ones are interpolated
(between.py). Counts the trials to 95 % and 98 % of the hypervolume that trying everything would have: of all files, or
of the first ones. Writes files.md and, with every run, files.json.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import inf, isinf
from pathlib import Path
from statistics import median

from measure import run_all
from oracle import Oracle, oracle
from pydantic import TypeAdapter
from race import SHARES, Field, Race, Run
from rows import counts

HERE = Path(__file__).resolve().parent
N_TRIALS = 40
_RUNS: TypeAdapter[list[Run]] = TypeAdapter(list[Run])
_ORACLES: TypeAdapter[list[Oracle]] = TypeAdapter(list[Oracle])
FIELDS = [Field("smollm2-gemma3-files", None, cap, with_vram=False, all_layers=True) for cap in (0.5, 0.65, 0.75, 0.9)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--render", action="store_true", help="run nothing, write files.md from files.json")
    options = parser.parse_args()
    if options.render:
        data = json.loads((HERE / "files.json").read_text(encoding="utf-8"))
        write(_RUNS.validate_python(data["runs"]), _ORACLES.validate_python(data["oracles"]))
        return
    fields = [each for several in FIELDS for each in (several, replace(several, one_file=True))]
    races = [
        Race(field, "layer-split", planned=True, seed=seed, n_trials=N_TRIALS, to_shares_only=True)
        for seed in range(options.seeds)
        for field in fields
    ]
    runs = list(run_all(races, options.jobs))
    oracles = [oracle(field) for field in fields]
    rows = ",\n".join(json.dumps(asdict(each)) for each in runs)
    head = json.dumps({"oracles": list(map(asdict, oracles))}, indent=0).removesuffix("\n}")
    (HERE / "files.json").write_text(f'{head},\n"runs": [\n{rows}\n]\n}}\n', encoding="utf-8")
    write(runs, oracles)


def write(runs: Sequence[Run], oracles: Sequence[Oracle]) -> None:
    text = report(runs, oracles)
    (HERE / "files.md").write_text(text, encoding="utf-8")
    print(text)


def report(runs: Sequence[Run], oracles: Sequence[Oracle]) -> str:
    lines = [
        f"The search with three files for each model next to the search with the first file only, "
        f"{len({each.race.seed for each in runs})} seeds.",
        "Trials to a share of the exhaustive hypervolume: the median, with the 90th percentile in brackets. How many",
        "times as many with three files: the ratio of the medians.",
        "",
        "| card | " + " | ".join(f"{share:.0%}: three files | one file | ratio" for share in SHARES) + " |",
        "|---|" + "--:|" * 3 * len(SHARES),
    ]
    for name, fields in [*((f"{each.cap:.0%}", [each]) for each in FIELDS), ("all", FIELDS)]:
        cells = [name]
        for place in range(len(SHARES)):
            there, alone = (
                [n for each in fields for n in n_trials(runs, replace(each, one_file=one_file), place)]
                for one_file in (False, True)
            )
            cells += [counts(there, N_TRIALS), counts(alone, N_TRIALS), ratio(median(there), median(alone))]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {each.words}. {perfect(each)}" for each in oracles)]
    return "\n".join(lines) + "\n"


def ratio(there: float, alone: float) -> str:
    if isinf(there) and isinf(alone):
        return ""
    if isinf(alone):
        return f"< {there / N_TRIALS:.2f}"
    return f"> {N_TRIALS / alone:.2f}" if isinf(there) else f"{there / alone:.2f}"


def n_trials(runs: Sequence[Run], field: Field, place: int) -> list[float]:
    """Return the trials to one of SHARES of every search of a field; infinite if there were too few."""
    found = [run.n_trials_to[place] for run in runs if run.race.field == field]
    return [inf if each is None else each for each in found]


def perfect(found: Oracle) -> str:
    needed = " and ".join(f"{n} to {share:.0%}" for n, share in zip(found.n_trials_to_after_first, SHARES, strict=True))
    return f"With all speeds known beforehand, after the {found.n_first} trials of the initial design: {needed}."


if __name__ == "__main__":
    main()
