"""How long a search still takes: its trials, the finals and the validation runs, from what these have taken so far."""

from collections.abc import Callable
from statistics import fmean
from time import monotonic

from layertune.sampler.stopping import LEAST_PROPOSALS
from layertune.search.finals import RoundMeasured
from layertune.search.task import Event, ReferenceMeasured, SearchTask, TrialFinished, TrialStarted

# A guess at all loads of the finals, for each contender of the first round; the rounds themselves replace it. Simulated
# searches need 1.6 to 3.3, more the larger the noise.
LOADS_PER_CONTENDER = 2.0

# A search that may end early does so a few trials after the rule allows it (benchmarks/choosing).
_PROPOSALS_BEYOND = 2

# The seconds of a load are the mean of so many last ones, since later trials differ from the first.
_N_LAST = 8

# What the validation runs measure: the pick and the best baseline, and where quality is measured, the pick with the
# reference files.
N_VALIDATED = 2


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
        self._loads_s: list[float] = []
        self._n_contenders = task.schedule.n_finalists if task.schedule.n_rounds > 0 else 0
        self._n_next = self._loads_of_finals()
        self._n_left: int | None = None  # of the round that runs
        self._n_validation = 0
        self._n_validated = N_VALIDATED + bool(task.reference_files)
        self._now = now
        self._started_s = self._last_s = now()

    def on_event(self, event: Event) -> None:
        """Take an event of the search."""
        if isinstance(event, TrialStarted | ReferenceMeasured):
            self._lap()
        elif isinstance(event, TrialFinished):
            self._n_trials = event.n_finished
            self._n_contenders = event.n_contenders
            self._n_next = self._loads_of_finals()
            self._loads_s.append(self._lap())
        elif isinstance(event, RoundMeasured):
            self._loads_s.append(self._lap())
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

    def n_loads_left(self) -> int:
        """Return how many measurements of the finals and validation runs are expected to follow."""
        schedule = self._schedule
        if schedule.n_rounds == 0:
            return 0
        of_round = self._n_left if self._n_left is not None and self._n_validation == 0 else 0
        return of_round + self._n_next + max(0, self._n_validated * schedule.n_confirming - self._n_validation)

    def seconds(self) -> float | None:
        """Return the seconds left; None before the first trial."""
        if not self._loads_s:
            return None
        n_references = self.n_trials_left() // self._schedule.n_between if self._schedule.n_between > 0 else 0
        n_left = self.n_trials_left() + n_references + self.n_loads_left()
        left_s = n_left * fmean(self._loads_s[-_N_LAST:])
        if self._timeout_s is not None:
            left_s = min(left_s, max(0.0, self._started_s + self._timeout_s - self._now()))
        return left_s

    def _loads_of_finals(self) -> int:
        return round(self._n_contenders * min(self._schedule.n_rounds, LOADS_PER_CONTENDER))

    def _loads_of_further_rounds(self, event: RoundMeasured) -> int:
        """Return the loads after this round. The share of contenders that have stayed so far is taken to stay for as
        many rounds again."""
        n_done = event.n_round + 1
        share = event.n_contenders / max(1, self._n_contenders)
        return event.n_contenders * min(self._schedule.n_rounds - n_done, max(1, round(n_done * share)))

    def _lap(self) -> float:
        before, self._last_s = self._last_s, self._now()
        return self._last_s - before
