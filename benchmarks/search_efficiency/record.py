"""Record a table that searches are replayed on: every engine of two small models on the emulated card.

    python benchmarks/search_efficiency/record.py benchmarks/search_efficiency/smollm2-gemma3.toml
    python benchmarks/search_efficiency/record.py benchmarks/search_efficiency/gemma3-qwen05b.toml
    python benchmarks/search_efficiency/record.py benchmarks/search_efficiency/smollm2-gemma3-files.toml

Takes up to an hour, on a quiet machine: the speeds are this CPU's. Measured cells are kept in
build/search_efficiency/, so that a recording that was cut off goes on where it was; at the end tables/NAME.json.gz is
written next to this file. --quick measures the first cells only and writes no table. design.py says which cells. The
last table was recorded with --visits 3 --joint 12, in ten minutes.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic

from design import N_JOINT, N_VISITS, PlannedCell, design
from pydantic import TypeAdapter

from layertune.config import StudyConfig, load_config
from layertune.memory import EngineMemory
from layertune.models.known_models import find_known
from layertune.models.standin import known_standin
from layertune.settings import EngineSettings
from layertune.space.search_space import SearchSpace
from layertune.study.search_task import trial_context
from layertune.study.study import Study, open_study
from layertune.testing.recorded_noise import factorisation_error
from layertune.testing.recorded_table import Cell, EnginePlan, ModelCell, RecordedTable, load_table, save_table
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner
from layertune.trial.runners import measure_undisturbed
from layertune.units import format_bytes, format_duration

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "search_efficiency"
# Twice, after one unmeasured round; the models never run at once, since tables are of what each does alone.
EFFORT = Effort(min_repeats=2, max_repeats=2, target_spread=1.0, together=False)
N_ATTEMPTS = 2
N_QUICK = 3

_CELL: TypeAdapter[Cell] = TypeAdapter(Cell)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--quick", action="store_true", help=f"measure {N_QUICK} cells, anew, and write no table")
    parser.add_argument("--visits", type=int, default=N_VISITS, help="how often every engine is measured")
    parser.add_argument("--joint", type=int, default=N_JOINT, help="how many further pairs are measured")
    options = parser.parse_args()
    config = load_config(options.config)
    write_standins(config)
    study = open_study(config)
    planned = design(engines(study.space), config.seed, options.visits, options.joint)
    log = BUILD / (f"{config.name}.quick.jsonl" if options.quick else f"{config.name}.cells.jsonl")
    if options.quick:
        log.unlink(missing_ok=True)
    cells = record(study, planned[:N_QUICK] if options.quick else planned, log)
    if not options.quick:
        path = HERE / "tables" / f"{config.name}.json.gz"
        save_table(table_of(study, cells), path)
        print(summary(load_table(path), path))


def write_standins(config: StudyConfig) -> None:
    """Write the models that belong into the build folder and are missing; the others are downloaded by make models."""
    for model in config.models.values():
        path = model.path
        if path is not None and not path.exists() and path.resolve().is_relative_to(BUILD):
            print(f"writing {path.name}, a stand-in", file=sys.stderr)
            known_standin(find_known(path.name)).write(path)


def engines(space: SearchSpace) -> dict[str, list[EngineSettings]]:
    """Return every engine that llama.cpp can run, once, in its canonical form."""
    return {
        name: list(dict.fromkeys(space.canonical_engine(name, each) for each in space.engines(name)))
        for name in space.models
    }


def record(study: Study, planned: Sequence[PlannedCell], log: Path) -> list[Cell]:
    """Measure what the log has not yet, cell by cell, then what stayed disturbed once more; return all cells."""
    log.parent.mkdir(parents=True, exist_ok=True)
    cells = read_log(log, planned)
    n_before, started_s = len(cells), monotonic()
    print(f"{len(planned)} cells, {n_before} of them measured before", file=sys.stderr)
    with closing(ProcessTrialRunner(trial_context(study))) as runner, log.open("a", encoding="utf-8") as file:
        runner.prepare(planned[0].settings)
        for cell in planned[n_before:]:
            cells.append(measure(runner, cell))
            file.write(_CELL.dump_json(cells[-1]).decode() + "\n")
            file.flush()
            say(cells, len(planned), (monotonic() - started_s) / (len(cells) - n_before))
        for place, cell in enumerate(cells):
            if cell.disturbances:
                cells[place] = measure(runner, planned[place])
    log.write_text("".join(_CELL.dump_json(cell).decode() + "\n" for cell in cells), encoding="utf-8")
    return cells


def measure(runner: ProcessTrialRunner, cell: PlannedCell) -> Cell:
    outcome = measure_undisturbed(runner, cell.settings, EFFORT, N_ATTEMPTS, keep=lambda _disturbed: None)
    if not isinstance(outcome, Measured) or outcome.vram is None:
        raise SystemExit(f"not measured: {cell.settings.as_dict()}: {outcome}; run again to go on")
    models = {
        name: ModelCell(cell.settings[name], report.samples, report.load_s) for name, report in outcome.models.items()
    }
    return Cell(cell.kind, models, outcome.vram.peak_bytes, outcome.disturbances)


def read_log(log: Path, planned: Sequence[PlannedCell]) -> list[Cell]:
    """Return the cells of a recording that was cut off; a line that was not written to its end is cut off the file."""
    if not log.exists():
        return []
    whole, _, torn = log.read_bytes().rpartition(b"\n")
    if torn:
        log.write_bytes(whole + b"\n" if whole else b"")
    cells = [_CELL.validate_json(line) for line in whole.splitlines()]
    for cell, plan in zip(cells, planned, strict=False):
        if (cell.kind, cell.settings) != (plan.kind, plan.settings):
            raise SystemExit(f"{log} is of another design; remove it")
    return cells


def say(cells: Sequence[Cell], n_planned: int, mean_s: float) -> None:
    cell, left_s = cells[-1], mean_s * (n_planned - len(cells))
    layers = ", ".join(
        f"{name} {each.settings.file} {each.settings.n_gpu_layers}" for name, each in cell.models.items()
    )
    disturbed = f"; disturbed: {' and '.join(cell.disturbances)}" if cell.disturbances else ""
    print(
        f"cell {len(cells)} of {n_planned}, {cell.kind}: {layers}{disturbed}; {mean_s:.1f} s a cell, about "
        f"{format_duration(mean_s * n_planned)} in all, {format_duration(left_s)} left",
        file=sys.stderr,
        flush=True,
    )


def table_of(study: Study, cells: Sequence[Cell]) -> RecordedTable:
    space, target, machine, build = study.space, study.target, study.machine, study.build
    if study.feasible is None:
        raise SystemExit("llama.cpp could not say what the models take")
    planner = study.feasible.planner
    size = format_bytes(target.vram_bytes or 0)
    return RecordedTable(
        name=study.config.name,
        device=f"emulated card of {size}, {target.n_threads} device threads, on {machine.cpu_model}, "
        f"{machine.n_cores} cores; llama.cpp {build.version} {build.commit}",
        workloads=dict(trial_context(study).workloads),
        n_layers=dict(space.n_layers),
        n_parallel=dict(space.n_parallel),
        dimensions=space.dimensions,
        plans={name: tuple(plans(planner.models[name], space, name)) for name in space.models},
        cells=tuple(cells),
    )


def plans(memory: EngineMemory, space: SearchSpace, name: str) -> Iterator[EnginePlan]:
    for key in dict.fromkeys(each.memory_key(space.n_layer(name, each)) for each in space.engines(name)):
        yield EnginePlan(key, memory.plan(key))


def summary(table: RecordedTable, path: Path) -> str:
    beside = [cell.peak_bytes - table.peak_bytes(cell.settings) for cell in table.cells]
    n_disturbed = sum(bool(cell.disturbances) for cell in table.cells)
    lines = [
        f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {len(table.cells)} cells, {n_disturbed} stayed disturbed, "
        f"peaks {min(beside)} to {max(beside)} bytes above the plan",
        *(f"{name}: {factorisation_error(table, name)}" for name in table.models),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
