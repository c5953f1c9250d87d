"""What a search shows while it runs, on standard error: a live line on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from types import TracebackType

from layertune.cli.console import LiveLine
from layertune.results.picks import BALANCED
from layertune.results.trial_summary import remarks
from layertune.results.trials import FinishedTrial, RoundStage
from layertune.search.finals import RoundMeasured
from layertune.search.task import (
    DeviceAwaited,
    Event,
    ReferenceMeasured,
    SearchTask,
    TrialFinished,
    TrialSlow,
    TrialStarted,
)
from layertune.search.time_left import TimeLeft
from layertune.study.trial_words import layers, trial_line, why, without_figures
from layertune.trial.messages import Stage
from layertune.trial.outcome import Measured
from layertune.units import format_duration

_ROUNDS: dict[RoundStage, str] = {"finals": "finals", "validation": "validation"}


class SearchProgress:
    """A context manager; `on_event` is for the events between the search's opening and its end."""

    def __init__(self, task: SearchTask, finished: Sequence[FinishedTrial]) -> None:
        self._n_trials = task.n_trials
        self._task = task
        self._left = TimeLeft(task, len(finished))
        self._said: set[str] = set()
        self._live = LiveLine("trial", task.n_trials, len(finished))

    def __enter__(self) -> "SearchProgress":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def on_event(self, event: Event) -> None:
        self._left.on_event(event)
        if isinstance(event, Stage):
            self._live.update(stage=f"{event.name} {event.model or ''}")
        elif isinstance(event, DeviceAwaited):
            self._live.say(f"waiting for the device: {event.owner} measures on it")
        elif isinstance(event, TrialSlow):
            self._live.say(f"  {event.words}")
        elif isinstance(event, TrialStarted):
            self._live.update(stage=layers(event.settings))
        elif isinstance(event, TrialFinished):
            self._on_trial(event)
        elif isinstance(event, ReferenceMeasured):
            self._on_drift(event.drift)
        elif isinstance(event, RoundMeasured):
            self._on_round(event)

    def _on_drift(self, drift: float | None) -> None:
        if drift is not None:
            self._live.say(f"the machine runs at {drift:.0%} of its speed at the start; the finals measure all anew")

    def _on_round(self, event: RoundMeasured) -> None:
        n_most = self._task.schedule.n_most(event.stage)
        rounds = f"{_ROUNDS[event.stage]}, round {event.n_round + 1} of at most {n_most}"
        self._live.update(stage=f"{rounds}, {event.n_left} left", left=self._time_left())
        if not isinstance(event.outcome, Measured):
            self._live.say(f"[{rounds}] trial {event.number}: {event.outcome.state}: {why(event.outcome)}")
        elif event.n_left == 0:
            undecided = f"{event.n_contenders} contenders left" if event.n_contenders > 0 else "no contender left"
            self._live.say(f"[{rounds}] {undecided if event.stage == 'finals' else 'done'}  {self._time_left()}")

    def _on_trial(self, event: TrialFinished) -> None:
        left = self._time_left()
        self._live.update(event.n_finished, left=left)
        progress = f"{event.n_finished}/{self._n_trials}"
        self._live.say(f"[{progress}] {trial_line(event.trial, self._task.limits)}  {_best(event)}  {left}")
        if isinstance(event.trial.outcome, Measured):
            for remark in remarks(event.trial.outcome):
                what = without_figures(remark)
                if what not in self._said:  # what holds for every trial is said once
                    self._said.add(what)
                    self._live.say(f"  {remark}")

    def _time_left(self) -> str:
        left_s = self._left.seconds()
        return "" if left_s is None else f"about {format_duration(left_s)} left"


def _best(event: TrialFinished) -> str:
    return f"best: trial {event.picks[BALANCED]}" if event.picks else "best: none yet"
