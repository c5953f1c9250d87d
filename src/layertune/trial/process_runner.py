"""Runs trials in a worker process. Its crash or hang becomes the outcome of the trial."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from layertune.devices.target import Target
from layertune.models import ModelFiles
from layertune.settings import SplitSettings, variant
from layertune.trial.effort import Effort
from layertune.trial.messages import Done, ModelTask, Stage, Stale, TrialRequest
from layertune.trial.outcome import Failed, TrialOutcome
from layertune.trial.runners import GiveUp, never
from layertune.trial.threads_at_once import oversubscribed
from layertune.trial.time_spent import TimeSpent
from layertune.trial.trial_watch import TrialWatch
from layertune.trial.worker_process import Ended, WorkerNotStarted, WorkerProcess

WORKER_COMMAND = (sys.executable, "-m", "layertune.trial.worker")

# Pauses between attempts to start a worker. The system may be out of processes, memory or files for a short time only.
_START_PAUSES_S = (1.0, 5.0)

# The first load compiles kernels and reads the files from disk, which can take minutes.
_PREPARE_TIMEOUT_FACTOR = 10

# A first trial that takes longer is reported; a later one that takes twice as long as any before, too.
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What stays the same over all trials of a study. `paths` and `workloads` (prompt, generated tokens) by model;
    `files` are those that every trial has to find unchanged."""

    target: Target
    paths: Mapping[str, str]
    workloads: Mapping[str, tuple[int, int]]
    seed: int
    trial_timeout_s: float
    files: Sequence[ModelFiles] = ()


class ProcessTrialRunner:
    """Runs trials one at a time. Use it from the main thread.

    The worker is kept for the next trial as long as trials end as measured and their memory is returned; otherwise the
    next trial starts a new one.

    Attributes:
        on_stage: Called with each stage that a worker begins.
        on_slow: Called with a sentence about a trial that takes long.
        slowest_s: Returns by model the longest that one run of its workload may take, as far as that is known.
        spent: The time of all trials. A trial without results counts as load.
    """

    def __init__(
        self,
        context: TrialContext,
        *,
        on_stage: Callable[[Stage], None] = lambda _stage: None,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._context = context
        self.on_stage = on_stage
        self.on_slow: Callable[[str], None] = lambda _words: None
        self.slowest_s: Callable[[SplitSettings], Mapping[str, float]] = lambda _settings: {}
        self._longest_s = 0.0
        self._command = tuple(command)
        self._worker: WorkerProcess | None = None
        self.spent = TimeSpent()

    def prepare(self, settings: SplitSettings) -> None:
        """As in `TrialRunner`; its time limit is ten times that of a trial."""
        self._run(settings, None, never, self._context.trial_timeout_s * _PREPARE_TIMEOUT_FACTOR)

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        """As in `TrialRunner`."""
        outcome = self._run(settings, effort, give_up, self._context.trial_timeout_s)
        return outcome or Failed("protocol", "the worker measured nothing", (), 0.0)

    def close(self) -> None:
        """End the worker; a later `run` starts a new one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _run(
        self, settings: SplitSettings, effort: Effort | None, give_up: GiveUp, timeout_s: float
    ) -> TrialOutcome | None:
        started_s = time.monotonic()
        try:
            self._check_files()
            answer = self._order(settings, effort, give_up, timeout_s)
            if isinstance(answer, Stale):
                self.close()
                answer = self._order(settings, effort, give_up, timeout_s)
            self._check_files()  # a file that changed meanwhile may be the one that was measured
        except WorkerNotStarted as error:
            return Failed("error", str(error), (), time.monotonic() - started_s)
        except BaseException:
            self.close()
            raise
        if isinstance(answer, Stale):
            self.close()
            return Failed("error", f"memory was missing on the device for a new worker, too: {answer.why}", (), 0.0)
        if not isinstance(answer, Done):
            self.close()
            self.spent += TimeSpent(load_s=answer.duration_s)
            return answer
        self.spent += answer.clock
        self._longest_s = max(self._longest_s, time.monotonic() - started_s)
        if not answer.stays:
            self.close()
        return answer.outcome

    def _order(
        self, settings: SplitSettings, effort: Effort | None, give_up: GiveUp, timeout_s: float
    ) -> Done | Stale | Ended:
        if self._worker is None or not self._worker.is_alive():
            self.close()
            self._worker = self._start()
        request = self._request(settings, effort, self._worker.ledger_descriptors)
        patience_s = max(_PATIENCE_S, 2 * self._longest_s)
        watch = TrialWatch(self.slowest_s(settings), patience_s, oversubscribed(request), self.on_slow)
        return self._worker.run(request, timeout_s, self.on_stage, give_up, watch)

    def _check_files(self) -> None:
        """Check that the model files are unchanged.

        Raises:
            ModelFileError: one is not the file that the study began with.
        """
        for files in self._context.files:
            files.check()

    def _start(self) -> WorkerProcess:
        """Start a worker; try again after a pause.

        Raises:
            WorkerNotStarted: every attempt failed.
        """
        for pause_s in _START_PAUSES_S:
            with contextlib.suppress(WorkerNotStarted):
                return WorkerProcess(self._command, self._context.target)
            time.sleep(pause_s)
        return WorkerProcess(self._command, self._context.target)

    def _request(
        self, settings: SplitSettings, effort: Effort | None, ledger_descriptors: tuple[int, ...]
    ) -> TrialRequest:
        context = self._context
        tasks = tuple(
            ModelTask(name, context.paths[variant(name, engine.file)], engine, *context.workloads[name])
            for name, engine in settings.items()
        )
        return TrialRequest(tasks, context.target, ledger_descriptors, context.seed, effort)
