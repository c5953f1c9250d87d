"""What a search shows while it runs, on standard error: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from layertune.config import Objective
from layertune.results.picks import candidates, choose
from layertune.results.statistics import Metric
from layertune.results.summary import reason
from layertune.results.trials import FinishedTrial, front
from layertune.search.study import Event, TrialStarted
from layertune.settings import SplitSettings
from layertune.trial.messages import Stage
from layertune.trial.outcome import Failed, Infeasible, Measured
from layertune.units import format_bytes, format_duration


class SearchProgress:
    """A context manager; hand `on_event` to the search and `on_stage` to the trial runner."""

    def __init__(self, n_trials: int, objectives: Sequence[Objective], finished: Sequence[FinishedTrial]) -> None:
        self._n_trials = n_trials
        self._objectives = objectives
        self._finished = list(finished)
        self._started_s = time.monotonic()
        self._n_before = len(self._finished)
        self._console = Console(stderr=True, highlight=False)
        self._live = Progress(
            TextColumn("trial"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[stage]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._live.add_task("search", total=n_trials, completed=self._n_before, left="", stage="")

    def __enter__(self) -> "SearchProgress":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def on_stage(self, stage: Stage) -> None:
        self._live.update(self._task, stage=f"{stage.name} {stage.model or ''}")

    def on_event(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self._live.update(self._task, stage=_layers(event.settings))
            return
        self._finished.append(event.trial)
        left = self._time_left()
        self._live.update(self._task, completed=event.n_finished, left=left)
        progress = f"{event.n_finished}/{self._n_trials}"
        self._console.print(f"[{progress}] {_line(event.trial)}  {self._best()}  {left}", markup=False, soft_wrap=True)

    def _best(self) -> str:
        picks = choose(candidates(front(self._finished, self._objectives)))
        return f"best: trial {picks['balanced']}" if picks else "best: none yet"

    def _time_left(self) -> str:
        n_done = len(self._finished) - self._n_before
        each_s = (time.monotonic() - self._started_s) / max(1, n_done)
        return f"{format_duration(each_s * (self._n_trials - len(self._finished)))} left"


def _line(trial: FinishedTrial) -> str:
    outcome = trial.outcome
    if not isinstance(outcome, Measured):
        return f"trial {trial.number}: {_layers(trial.settings)}  {outcome.state}: {_why(outcome)}"
    speeds = "  ".join(
        f"{name} {Metric.of(report.samples.tokens_per_s).median:.1f} tok/s" for name, report in outcome.models.items()
    )
    vram = f"  {format_bytes(outcome.vram.peak_bytes)}" if outcome.vram else ""
    over = ", over " + ", ".join(name for name, excess in trial.violations.items() if excess > 0)
    return f"trial {trial.number}: {_layers(trial.settings)}  {speeds}{vram}{'' if trial.feasible() else over}"


def _why(outcome: Infeasible | Failed) -> str:
    if isinstance(outcome, Infeasible) and outcome.excess_bytes is not None:
        return f"{outcome.stage} {outcome.model or ''} refused, {format_bytes(outcome.excess_bytes)} too many"
    return reason(outcome) or ""


def _layers(settings: SplitSettings) -> str:
    return " ".join(f"{name} ngl={engine.n_gpu_layers} b={engine.n_batch}" for name, engine in settings.items())
