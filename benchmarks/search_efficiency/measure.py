"""How many trials does a search need? Every sampler on recorded tables, whose truth is known.

    python benchmarks/search_efficiency/measure.py [--samplers tpe random …] [--seeds 20] [--cards 1 2 …] [--add]

Runs the real search with replayed trials (record.py writes the tables), each sampler with the same seeds, with the
planner's feasible set and, on some cards, without. Trials are counted until the true figures of what was visited, not
the noisy ones that the search saw, have 95 % and 98 % of the hypervolume that trying everything would have. Prints
Markdown, and writes efficiency.md and, with every run, efficiency.json next to this file; --add keeps the runs there
that are not run again (a table that was recorded anew needs all of its cards), --render only writes the former from
the latter.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

from oracle import Oracle, oracle
from pydantic import TypeAdapter
from race import Field, Race, Run, opened, opened_search, run
from rows import name_of, report

from layertune.errors import UsageError
from layertune.units import format_duration

HERE = Path(__file__).resolve().parent
SAMPLERS = ("layer-split", "tpe", "gp", "nsga2", "random")

# Caps at which both models want more than there is. With two host threads this CPU is as fast as the emulated card, and
# a split is slower than either: far from monotone, and the best is to leave everything where it is.
FIELDS = [
    Field("smollm2-gemma3", 1, 0.75, with_vram=False),
    Field("smollm2-gemma3", 1, 0.9, with_vram=False),
    Field("smollm2-gemma3", None, 0.75, with_vram=False),
    Field("gemma3-qwen05b", None, 0.5, with_vram=False),
    Field("gemma3-qwen05b", None, 0.75, with_vram=False),
    Field("smollm2-gemma3", 1, 0.75, with_vram=True),
    Field("gemma3-qwen05b", None, 0.5, with_vram=True),
]

# Where searches race without the plan too: it takes long, and says the same everywhere.
BLIND = (FIELDS[0], FIELDS[3])

_RUNS: TypeAdapter[list[Run]] = TypeAdapter(list[Run])
_ORACLES: TypeAdapter[list[Oracle]] = TypeAdapter(list[Oracle])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cards", type=int, nargs="+", choices=range(1, len(FIELDS) + 1), help="all without it")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--into", type=Path, default=HERE)
    parser.add_argument("--add", action="store_true", help="keep what was run before and is not run again")
    parser.add_argument("--render", action="store_true", help="run nothing, render what was run")
    options = parser.parse_args()
    runs, found, said = read(options.into) if options.render or options.add else ([], [], {})
    if options.render:
        write(options.into, runs, found, said)
        return
    fields = [FIELDS[number - 1] for number in options.cards or range(1, len(FIELDS) + 1)]
    ways = [(sampler, planned) for sampler in options.samplers for planned in (True, False)]
    skipped = {way: why for way in ways if (why := unavailable(*way)) is not None}
    races = [
        Race(field, *way, seed, options.trials)
        for seed in range(options.seeds)
        for field in fields
        for way in ways
        if way not in skipped and (way[1] or field in BLIND)
    ]
    said = {name: why for name, why in said.items() if name not in [name_of(*way) for way in ways]}
    said |= {name_of(*way): why for way, why in skipped.items()}
    print("\n".join(f"skipped: {name}: {why}" for name, why in said.items()), file=sys.stderr)
    anew = {lane(each) for each in races}
    runs = [each for each in runs if lane(each.race) not in anew and each.race.field in FIELDS]
    found = [each for each in found if each.field not in fields and each.field in FIELDS]
    runs += run_all(races, options.jobs)
    found += map(oracle, fields)
    write(options.into, sorted(runs, key=place), sorted(found, key=lambda each: FIELDS.index(each.field)), said)


def lane(race: Race) -> tuple[Field, str, bool]:
    """Return what the seeds of a race share, which are run anew together: their trials are as many."""
    return race.field, race.sampler, race.planned


def read(folder: Path) -> tuple[list[Run], list[Oracle], dict[str, str]]:
    data = json.loads((folder / "efficiency.json").read_text(encoding="utf-8"))
    return _RUNS.validate_python(data["runs"]), _ORACLES.validate_python(data["oracles"]), data["skipped"]


def place(run: Run) -> tuple[int, int, int, bool]:
    """Return where a run stands in the file, and so its sampler in the tables."""
    race = run.race
    return race.seed, FIELDS.index(race.field), SAMPLERS.index(race.sampler), not race.planned


def unavailable(sampler: str, planned: bool) -> str | None:
    """Return why this layertune or this machine cannot search this way, None where it can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            race = Race(FIELDS[0], sampler, planned, seed=0, n_trials=1)
            opened_search(opened(FIELDS[0])[0], race, Path(folder))
        except UsageError as error:
            return str(error)
    return None


def run_all(races: Sequence[Race], n_jobs: int) -> Iterator[Run]:
    """Yield the runs in the order of the races."""
    started_s = monotonic()
    # A search's matrices are small, and those that run beside it want the cores: its proposals are timed on one thread.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(n_jobs, get_context("spawn")) as pool:
        futures = [pool.submit(run, race) for race in races]
        for n_done, _ in enumerate(as_completed(futures), 1):
            if n_done % 20 == 0 or n_done == len(races):
                spent_s = monotonic() - started_s
                left = format_duration(spent_s / n_done * (len(races) - n_done))
                print(f"{n_done} of {len(races)} searches, {left} left", file=sys.stderr, flush=True)
        yield from (future.result() for future in futures)


def write(into: Path, runs: Sequence[Run], found: Sequence[Oracle], skipped: Mapping[str, str]) -> None:
    rows = ",\n".join(json.dumps(asdict(each)) for each in runs)
    head = {"oracles": [asdict(each) for each in found], "skipped": dict(skipped)}
    text = json.dumps(head, indent=0).removesuffix("\n}") + f',\n"runs": [\n{rows}\n]\n}}\n'
    (into / "efficiency.json").write_text(text, encoding="utf-8")
    (into / "efficiency.md").write_text(report(runs, found, skipped), encoding="utf-8")
    print(report(runs, found, skipped))


if __name__ == "__main__":
    main()
