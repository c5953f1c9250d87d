"""How long a search still takes: its trials, the finals and the validation runs, from what these have taken so far."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median
from time import monotonic

from layertune.results.trials import FinishedTrial
from layertune.sampler.stopping import LEAST_PROPOSALS
from layertune.search.finals import RoundMeasured
from layertune.search.schedule import Schedule
from layertune.search.task import Event, ReferenceMeasured, SearchTask, TrialFinished, TrialStarted
from layertune.trial.outcome import Measured, TrialOutcome

# Loads of the finals for each contender of the first round, until the rounds themselves replace this: a number, and as
# much more for each unit of relative noise. Fitted to the simulated searches of benchmarks/choosing, which prints them.
_LOADS_PER_CONTENDER, _MORE_BY_NOISE = 1.0, 18.0

# Of a quiet machine and of a noisy one: what is expected before anything is measured.
TYPICAL_NOISES = (0.01, 0.05)

# A search that may end early does so a few trials after the rule allows it (benchmarks/choosing).
_PROPOSALS_BEYOND = 2

# Later trials differ from the first, so only so many of the last loads count.
_N_LAST = 8

# Timing each model during the others' long prompts takes about as long as so many repetitions (the demo, emulated).
_BESIDE_PREFILL = 2

# Filling a context takes about so many times what the speed of the workload's prompt suggests, since attention takes
# longer with depth: 1.4 to 3.0 times for the demo's models with contexts of 1024 and 4096 tokens (emulated).
_FILL = 2.0

# What the validation runs measure: the pick and the best baseline, and where quality is measured, the pick with the
# reference files.
N_VALIDATED = 2


@dataclass(frozen=True, slots=True)
class _Load:
    """One measurement that was made: its seconds, those of its repetitions, and how many of these there were.

    One repetition runs every model's workload once, either in turns or all at once. `fill_s` are the seconds in which
    contexts were filled; the others are without them.
    """

    seconds: float
    repetitions_s: float
    n_repetitions: int
    fill_s: float = 0.0

    @classmethod
    def of(cls, seconds: float, outcome: TrialOutcome) -> "_Load":
        if not isinstance(outcome, Measured):
            return cls(seconds, 0.0, 0)
        samples = [each.samples for each in outcome.models.values()]
        alone, together = (
            max(len(getattr(each, name)) for each in samples) for name in ("tokens_per_s", "tokens_per_s_together")
        )
        fill_s = sum(sum(each.fill_s) for each in samples)
        seconds -= min(seconds, fill_s)
        return cls(seconds, min(seconds, max(0.0, outcome.clock.measure_s - fill_s)), alone + together, fill_s)


def loads_of_finals(schedule: Schedule, n_contenders: int, noise: float) -> int:
    """Return how many loads finals with so many contenders take, if a measurement has this relative noise."""
    return round(n_contenders * min(schedule.n_rounds, _LOADS_PER_CONTENDER + _MORE_BY_NOISE * noise))


def _repetitions_of(schedule: Schedule) -> tuple[int, int]:
    """Return the repetitions of one measurement in the finals and of one in the validation runs."""
    n, together = schedule.finals_effort.min_repeats, schedule.finals_effort.repeat_together
    return n * (2 if together else 1), n + (n if together else 1)


def _expected_fill_s(trial: FinishedTrial, schedule: Schedule) -> float:
    """Return how long filling the contexts in a validation run takes with the settings of a measured trial."""
    found = 0.0
    for name, limit_s in schedule.finals_effort.at_depth.items():
        outcome = trial.outcome
        if isinstance(outcome, Measured) and name in outcome.models:
            pp_tokens_per_s = median(outcome.models[name].samples.pp_tokens_per_s)
            fill_s = trial.settings[name].n_ctx_slot / pp_tokens_per_s
            if limit_s is None:
                found += _FILL * fill_s
            elif fill_s <= limit_s:
                found += min(_FILL * fill_s, limit_s)
    return found


class TimeLeft:
    """Estimates the rest of a search. `on_event` takes the search's events as they come.

    Args:
        task: what is searched.
        n_finished: trials that a resumed study has already.
        now: the clock, in seconds.
    """

    def __init__(self, task: SearchTask, n_finished: int = 0, now: Callable[[], float] = monotonic) -> None:
        self._schedule = task.schedule
        self._n_design = len(task.initial_design)
        self._n_most = task.n_trials
        self._ends_early = task.early_stop and task.sampler == "layer-split"
        self._timeout_s = task.timeout_s
        self._n_trials = n_finished
        self._loads: list[_Load] = []
        self._trial_repetitions: list[int] = []
        self._n_contenders = task.schedule.n_finalists if task.schedule.n_rounds > 0 else 0
        self._noise = TYPICAL_NOISES[0]
        self._n_next = self._loads_of_finals()
        self._n_left: int | None = None  # of the round that runs
        self._n_validation = 0
        self._n_validated = N_VALIDATED + bool(task.reference_files)
        self._fill_s = 0.0
        self._now = now
        self._started_s = self._last_s = now()

    def on_event(self, event: Event) -> None:
        """Take an event of the search."""
        if isinstance(event, TrialStarted | ReferenceMeasured):
            self._lap()
        elif isinstance(event, TrialFinished):
            self._n_trials = event.n_finished
            self._n_contenders = event.n_contenders
            self._noise = event.noise
            self._n_next = self._loads_of_finals()
            self._loads.append(_Load.of(self._lap(), event.trial.outcome))
            if (fill_s := _expected_fill_s(event.trial, self._schedule)) > 0:
                self._fill_s = fill_s
            self._trial_repetitions.append(self._loads[-1].n_repetitions)
        elif isinstance(event, RoundMeasured):
            self._loads.append(_Load.of(self._lap(), event.outcome))
            if self._loads[-1].fill_s > 0:
                self._fill_s = self._loads[-1].fill_s
            self._n_left = event.n_left
            if event.stage == "finals":
                self._n_next = self._loads_of_further_rounds(event)
            else:
                self._n_validation += 1
                self._n_next = 0

    def n_trials_left(self) -> int:
        """Return how many trials are expected to follow."""
        if self._n_left is not None:
            return 0
        expected = self._n_most
        if self._ends_early:
            expected = min(self._n_most, self._n_design + LEAST_PROPOSALS + _PROPOSALS_BEYOND)
        return max(expected - self._n_trials, min(1, self._n_most - self._n_trials))

    def n_loads_left(self) -> tuple[int, int]:
        """Return how many measurements of the finals are expected to follow, and how many of the validation runs."""
        schedule = self._schedule
        if schedule.n_rounds == 0:
            return 0, 0
        of_round = self._n_left if self._n_left is not None and self._n_validation == 0 else 0
        return of_round + self._n_next, max(0, self._n_validated * schedule.n_confirming - self._n_validation)

    def seconds(self) -> float | None:
        """Return the seconds left; None before the first trial."""
        if not self._loads:
            return None
        n_trials, (n_finals, n_validation) = self.n_trials_left(), self.n_loads_left()
        n_trials += n_trials // self._schedule.n_between if self._schedule.n_between > 0 else 0  # the references
        of_finals, of_validation = _repetitions_of(self._schedule)
        repetitions = float(n_finals * of_finals + n_validation * of_validation)
        if self._trial_repetitions:
            repetitions += n_trials * fmean(self._trial_repetitions[-_N_LAST:])
        if self._n_left is None and n_finals > 0:
            repetitions += self._n_contenders  # all models at once, in the first round
        if self._n_validation < self._n_validated:
            repetitions += min(n_validation, self._n_validated * self._schedule.n_rounds_beside) * _BESIDE_PREFILL
        last = self._loads[-_N_LAST:]
        measured = sum(each.n_repetitions for each in last)
        repetition_s = sum(each.repetitions_s for each in last) / measured if measured > 0 else 0.0
        load_s = fmean(each.seconds - each.repetitions_s for each in last)
        left_s = (n_trials + n_finals + n_validation) * load_s + repetitions * repetition_s
        left_s += self._n_fills_left(n_trials, n_finals, n_validation) * self._fill_s
        if self._timeout_s is not None:
            left_s = min(left_s, max(0.0, self._started_s + self._timeout_s - self._now()))
        return left_s

    def _n_fills_left(self, n_trials: int, n_finals: int, n_validation: int) -> int:
        """Return how many measurements still fill contexts: all of them if a speed at depth is sought."""
        schedule = self._schedule
        if schedule.effort.at_depth:
            return n_trials + n_finals + n_validation
        return min(n_validation, max(0, self._n_validated * schedule.n_rounds_at_depth - self._n_validation))

    def _loads_of_finals(self) -> int:
        return loads_of_finals(self._schedule, self._n_contenders, self._noise)

    def _loads_of_further_rounds(self, event: RoundMeasured) -> int:
        """Return the loads after this round. The share of contenders that have stayed so far is taken to stay for as
        many rounds again."""
        n_done = event.n_round + 1
        share = event.n_contenders / max(1, self._n_contenders)
        return event.n_contenders * min(self._schedule.n_rounds - n_done, max(1, round(n_done * share)))

    def _lap(self) -> float:
        before, self._last_s = self._last_s, self._now()
        return self._last_s - before
