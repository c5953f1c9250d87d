"""How long a search still takes: its trials, the finals and the validation runs, from what these have taken so far."""

from collections.abc import Callable
from statistics import fmean
from time import monotonic

from layertune.sampler.stopping import LEAST_PROPOSALS
from layertune.search.finals import RoundMeasured
from layertune.search.task import Event, SearchTask, TrialFinished

# Loads of the finals for each contender of the first round, as searches on recorded tables need them
# (benchmarks/choosing: the mean over all noises).
_LOADS_PER_CONTENDER = 2.0

# A search that may end early does so a few trials after the rule allows it (benchmarks/choosing).
_PROPOSALS_BEYOND = 2


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
        self._trials_s: list[float] = []
        self._loads_s: list[float] = []
        self._n_finals = self._n_validation = 0
        self._n_contenders: int | None = None
        self._now = now
        self._started_s = self._last_s = now()

    def on_event(self, event: Event) -> None:
        """Take an event of the search."""
        if isinstance(event, TrialFinished):
            self._n_trials = event.n_finished
            self._trials_s.append(self._lap())
        elif isinstance(event, RoundMeasured):
            self._loads_s.append(self._lap())
            if event.stage == "finals":
                self._n_finals += 1
                if self._n_contenders is None:
                    self._n_contenders = event.n_contenders
            else:
                self._n_validation += 1

    def n_trials_left(self) -> int:
        """Return how many trials are expected to follow."""
        if self._loads_s:
            return 0
        expected = self._n_most
        if self._ends_early:
            expected = min(self._n_most, self._n_design + LEAST_PROPOSALS + _PROPOSALS_BEYOND)
        return max(expected - self._n_trials, min(1, self._n_most - self._n_trials))

    def n_loads_left(self) -> int:
        """Return how many measurements of the finals and validation runs are expected to follow."""
        schedule = self._schedule
        contenders = schedule.n_finalists + 1 if self._n_contenders is None else self._n_contenders
        finals = round(contenders * min(schedule.n_rounds, _LOADS_PER_CONTENDER))
        if self._n_validation:
            finals = self._n_finals
        if schedule.n_rounds == 0:
            return 0
        return max(0, finals - self._n_finals) + max(0, 2 * schedule.n_confirming - self._n_validation)

    def seconds(self) -> float | None:
        """Return the seconds left; None before the first trial."""
        if not self._trials_s and not self._loads_s:
            return None
        trials_s = self._trials_s[1:] if len(self._trials_s) > 1 else self._trials_s  # the first one warms up, too
        trial_s = fmean(trials_s if trials_s else self._loads_s)
        load_s = fmean(self._loads_s) if self._loads_s else trial_s
        left_s = self.n_trials_left() * trial_s + self.n_loads_left() * load_s
        if self._timeout_s is not None:
            left_s = min(left_s, max(0.0, self._started_s + self._timeout_s - self._now()))
        return left_s

    def _lap(self) -> float:
        before, self._last_s = self._last_s, self._now()
        return self._last_s - before
