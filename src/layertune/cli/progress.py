"""What a search shows while it runs, on standard error: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType

from layertune.cli.console import LiveLine
from layertune.results.choice import Choice
from layertune.results.statistics import Metric
from layertune.results.trial_summary import reason, remarks
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
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.trial.messages import Stage
from layertune.trial.outcome import Failed, Infeasible, Measured
from layertune.units import format_bytes, format_duration

_ROUNDS: dict[RoundStage, str] = {"finals": "finals", "validation": "confirming the choice"}


class SearchProgress:
    """A context manager; `on_event` is for the events between the search's opening and its end."""

    def __init__(self, task: SearchTask, finished: Sequence[FinishedTrial]) -> None:
        self._n_trials = task.n_trials
        self._task = task
        self._finished = list(finished)
        self._started_s = time.monotonic()
        self._n_before = len(self._finished)
        self._said: set[str] = set()
        self._live = LiveLine("trial", task.n_trials, self._n_before)

    def __enter__(self) -> "SearchProgress":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def on_event(self, event: Event) -> None:
        if isinstance(event, Stage):
            self._live.update(stage=f"{event.name} {event.model or ''}")
        elif isinstance(event, DeviceAwaited):
            self._live.say(f"waiting for the device: {event.owner} measures on it")
        elif isinstance(event, TrialSlow):
            self._live.say(f"  {event.words}")
        elif isinstance(event, TrialStarted):
            self._live.update(stage=_layers(event.settings))
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
        self._live.update(stage=f"{rounds}, {event.n_left} left", left="")
        if not isinstance(event.outcome, Measured):
            self._live.say(f"[{rounds}] trial {event.number}: {event.outcome.state}: {_why(event.outcome)}")
        elif event.n_left == 0:
            self._live.say(f"[{rounds}] done")

    def _on_trial(self, event: TrialFinished) -> None:
        self._finished.append(event.trial)
        left = self._time_left()
        self._live.update(event.n_finished, left=left)
        progress = f"{event.n_finished}/{self._n_trials}"
        self._live.say(f"[{progress}] {_line(event.trial, self._task.limits)}  {self._best()}  {left}")
        if isinstance(event.trial.outcome, Measured):
            for remark in remarks(event.trial.outcome):
                what = _without_figures(remark)
                if what not in self._said:  # what holds for every trial is said once
                    self._said.add(what)
                    self._live.say(f"  {remark}")

    def _best(self) -> str:
        task = self._task
        picks = Choice.of(self._finished, task.objectives, task.floors, task.weights).picks
        return f"best: trial {picks['balanced']}" if picks else "best: none yet"

    def _time_left(self) -> str:
        n_done = len(self._finished) - self._n_before
        each_s = (time.monotonic() - self._started_s) / max(1, n_done)
        return f"{format_duration(each_s * (self._n_trials - len(self._finished)))} left"


def _line(trial: FinishedTrial, limits: Limits) -> str:
    outcome = trial.outcome
    if not isinstance(outcome, Measured):
        return f"trial {trial.number}: {_layers(trial.settings)}  {outcome.state}: {_why(outcome)}"
    speeds = "  ".join(
        f"{name} {Metric.of(report.samples.tokens_per_s).median:.1f} tok/s" for name, report in outcome.models.items()
    )
    over = [f"{format_bytes(round(excess))} over {name}" for name, excess in trial.violations.items() if excess > 0]
    return ", ".join([f"trial {trial.number}: {_layers(trial.settings)}  {speeds}{_vram(outcome, limits)}", *over])


def _vram(outcome: Measured, limits: Limits) -> str:
    """Say the trial's peak, and what processes of their own will take where that is more."""
    if outcome.vram is None:
        return ""
    peak_bytes, deployed_bytes = outcome.vram.peak_bytes, sum(limits.deployed(outcome))
    deployed = f" ({format_bytes(deployed_bytes)} in {limits.n_processes} processes)"
    return f"  {format_bytes(peak_bytes)}{deployed if deployed_bytes > peak_bytes else ''}"


def _why(outcome: Infeasible | Failed) -> str:
    if isinstance(outcome, Infeasible) and outcome.excess_bytes is not None:
        return f"{outcome.stage} {outcome.model or ''} refused, {format_bytes(outcome.excess_bytes)} too many"
    return reason(outcome) or ""


def _without_figures(remark: str) -> str:
    """Return what a remark has in common with those of other trials: other programs take different shares each time."""
    return remark.partition(" took ")[0] if remark.startswith("disturbed: ") else remark


def _layers(settings: SplitSettings) -> str:
    return " ".join(f"{name} ngl={engine.n_gpu_layers} b={engine.n_batch}" for name, engine in settings.items())
