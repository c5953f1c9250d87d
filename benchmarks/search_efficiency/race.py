"""One search on a recorded table: the real `Search`, whose trials are replayed."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from between import with_all_layers
from expected import ASSUMED, expected_engines
from opponents import gp, nsga2
from optuna.storages import InMemoryStorage
from truth import Truth, whole_bytes

from layertune.config import Objective, Workload
from layertune.results.choice import Choice
from layertune.results.trials import FinishedTrial
from layertune.sampler.stopping import why_stop
from layertune.search.schedule import Schedule
from layertune.search.search import Search
from layertune.search.task import Event, SearchTask, TrialFinished, TrialStarted
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.initial_design import initial_design
from layertune.space.limits import Limits
from layertune.space.search_space import FILE, Dimension
from layertune.testing import RecordedTable, ReplayRunner, load_table
from layertune.trial.effort import Effort
from layertune.trial.outcome import Infeasible

TABLES = Path(__file__).resolve().parent / "tables"

SHARES = (0.95, 0.98)
PICKED_AFTER = (15, 30)

# How fast the machine is by the bandwidth that the initial design goes by.
HOST = ASSUMED["two threads hardly faster than one"]

# The defaults of a study (config/measurement.py), with the single run of all models at once that the default objectives
# need.
EFFORT = Effort(min_repeats=3, max_repeats=10, target_spread=0.02, warm_up_s=0.5, repeat_together=False)


@dataclass(frozen=True)
class Field:
    """Where searches race.

    Attributes:
        n_threads: Fixes the host's threads if the table has several.
        cap: The card's size as a share of what both models' first files need whole.
        with_vram: Whether peak memory is an objective next to the speeds.
        one_file: Whether only the first file of each model is searched.
        all_layers: Whether the layers between the recorded ones are searched, too.
    """

    table: str
    n_threads: int | None
    cap: float
    with_vram: bool
    one_file: bool = False
    all_layers: bool = False


@dataclass(frozen=True)
class Race:
    """Who searches where; `planned` is whether the search knows beforehand what fits. It ends at the last of SHARES if
    nothing but the trials to these is wanted (`to_shares_only`)."""

    field: Field
    sampler: str
    planned: bool
    seed: int
    n_trials: int
    to_shares_only: bool = False


@dataclass(frozen=True)
class Run:
    """What became of a race.

    `n_trials_to` are the trials to each of SHARES, None where there were too few; `regret` is how much worse the
    balanced pick after each of PICKED_AFTER trials truly is than the best setting there is; `stopped` is after how many
    trials layer-split would have ended by itself, and with which share, None where it would not have; `next_trial_s` is
    the median time from the end of a trial to the start of the next; `simulated_s` is what the trials would have taken.
    """

    race: Race
    n_ran: int
    n_refused: int
    n_trials_to: tuple[int | None, ...]
    share: float
    regret: tuple[float, ...]
    stopped: tuple[int, float] | None
    next_trial_s: float
    simulated_s: float


def run(race: Race) -> Run:
    table, truth = opened(race.field)
    runner, watch = ReplayRunner(table, cap_bytes(table, race.field.cap), race.seed), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        search = opened_search(table, race, Path(folder))

        def on_event(event: Event) -> None:
            watch.on_event(event)
            if race.to_shares_only and isinstance(event, TrialFinished) and truth.share(runner.ran) >= SHARES[-1]:
                raise _Reached

        with suppress(_Reached):
            search.run(runner, on_event)
        stop = stopping_at(search, len(task(table, race).initial_design))
    trials = search.finished()
    return Run(
        race,
        len(runner.ran),
        sum(isinstance(trial.outcome, Infeasible) for trial in trials),
        tuple(truth.n_trials_to(share, runner.ran) for share in SHARES),
        truth.share(runner.ran),
        tuple(1 - truth.score(balanced(trials[:n], table, race)) / truth.best_score for n in PICKED_AFTER),
        None if stop is None else (stop, truth.share(runner.ran[:stop])),
        median(watch.waits_s),
        runner.spent.total_s,
    )


def opened_search(table: RecordedTable, race: Race, folder: Path) -> Search:
    """Return the search of a race, not yet run.

    Raises:
        UsageError: the sampler needs a package that is not installed.
    """
    planned = task(table, race)
    opponents = {"gp": lambda: gp(table.space, planned.feasible), "nsga2": lambda: nsga2}
    make = opponents[race.sampler]() if race.sampler in opponents else None
    return Search(replace(planned, sampler="random") if make else planned, InMemoryStorage(), folder, make)


def task(table: RecordedTable, race: Race) -> SearchTask:
    """Return the task that `Study.search` would make (study/search_task.py), without finals and references."""
    capacity_bytes = cap_bytes(table, race.field.cap)
    file_bytes = dict.fromkeys(table.n_layers, 0)
    limits = Limits((capacity_bytes,), 0, None, n_processes=len(table.models), file_bytes=file_bytes)
    feasible = FeasibleSpace(table.space, table.planner, limits) if race.planned else None
    best: list[SplitSettings] = []
    if feasible is not None and all(len(table.space.files(name)) == 1 for name in table.models):
        best = expected_engines(table, feasible, HOST).first((), dict.fromkeys(table.models, 1.0))
    return SearchTask(
        name=table.name,
        space=table.space,
        objectives=objectives(table, race.field.with_vram),
        limits=limits,
        identity={"table": table.name},
        sampler=race.sampler,
        seed=race.seed,
        n_trials=race.n_trials,
        early_stop=False,
        timeout_s=None,
        initial_design=initial_design(table.space, feasible, limits.capacities, best, []),
        feasible=feasible,
        workloads={name: Workload(n_prompt=n[0], n_generate=n[1]) for name, n in table.workloads.items()},
        schedule=Schedule(EFFORT),
    )


def objectives(table: RecordedTable, with_vram: bool) -> list[Objective]:
    names = list(table.models)
    wanted = [*(f"{name}.tokens_per_s" for name in names), *(["vram.peak_bytes"] if with_vram else [])]
    return [Objective.named(each, names) for each in wanted]


def stopping_at(search: Search, n_first: int) -> int | None:
    """Return after how many trials the search would have ended had it been allowed to."""
    values = search.stopping_values()
    stops = (n for n in range(1, len(values) + 1) if why_stop(values[:n]) is not None)
    n_asked = next(stops, None)
    return None if n_asked is None else n_first + n_asked


def balanced(trials: Sequence[FinishedTrial], table: RecordedTable, race: Race) -> SplitSettings:
    """Return the settings of layertune's own pick by the noisy figures of these trials (results/summary.py)."""
    wanted = objectives(table, race.field.with_vram)
    choice = Choice.of(trials, wanted)
    return next(trial.settings for trial in choice.front if trial.number == choice.picks["balanced"])


@cache
def opened(field: Field) -> tuple[RecordedTable, Truth]:
    recorded = load_table(TABLES / f"{field.table}.json.gz")
    recorded = with_all_layers(recorded) if field.all_layers else recorded
    dimensions = tuple(replace(each, values=searched(field, each)) for each in recorded.dimensions)
    table = replace(recorded, dimensions=dimensions)
    return table, Truth(table, cap_bytes(table, field.cap), with_vram=field.with_vram)


def searched(field: Field, dimension: Dimension) -> tuple[Any, ...]:
    """Return the values of a table's dimension that a field searches."""
    if dimension.field == "n_threads" and field.n_threads is not None:
        return (field.n_threads,)
    return dimension.values[:1] if dimension.field == FILE and field.one_file else dimension.values


def cap_bytes(table: RecordedTable, cap: float) -> int:
    return round(cap * whole_bytes(table))


class _Reached(Exception):
    """The search has found what it was to find."""


class Stopwatch:
    """Times what a search does between two trials: it learns from the last and asks until one is to be run."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self._since_s = perf_counter()

    def on_event(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self.waits_s.append(perf_counter() - self._since_s)
        elif isinstance(event, TrialFinished):
            self._since_s = perf_counter()
