"""A worker process as seen by the search: its pipes, its log and its end."""

import contextlib
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from layertune.devices import lifetime
from layertune.devices.target import Target
from layertune.trial.evidence import RefusalCounter, classify, failed
from layertune.trial.messages import MESSAGE, ORDER, Done, GoOn, Order, Progress, Stage, Stale, TrialRequest
from layertune.trial.outcome import Failed, FailedReason, Infeasible
from layertune.trial.runners import GiveUp
from layertune.trial.trial_watch import TrialWatch

if TYPE_CHECKING:  # Windows has no emulated card
    from layertune.devices.emulated.ledger import Ledger

_EXIT_TIMEOUT_S = 10.0
_CHECK_S = 1.0
_LOG_BYTES = 64 * 1024

# The outcome of a trial whose worker did not send `Done`.
Ended = Infeasible | Failed


class WorkerNotStarted(Exception):
    """A worker could not be started: the system is out of processes, threads, memory or files, or Python is gone."""


@dataclass(frozen=True, slots=True)
class _Start:
    """The time, the size of the worker's log and the device's refusals at the start of a trial."""

    at_s: float
    log_bytes: int
    refusals: RefusalCounter

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.at_s


class WorkerProcess:
    """A worker process that runs one trial after the other. It starts at once and must be closed.

    The emulated cards' ledgers are created here, so that their counts outlive the worker. Nothing that a worker does
    raises an exception here.
    """

    def __init__(self, command: Sequence[str], target: Target) -> None:
        """Start the worker.

        Args:
            command: The worker's program; this process's id is appended to its arguments.
            target: The devices of its trials.

        Raises:
            WorkerNotStarted: it could not be started.
        """
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="worker-messages", daemon=True)
        with contextlib.ExitStack() as stack:
            try:
                # The worker appends, wherever this process reads.
                self._log = stack.enter_context(tempfile.TemporaryFile("a+b"))
                self._ledgers = _ledgers(target, stack)
                self.ledger_descriptors = tuple(ledger.descriptor for ledger in self._ledgers)
                self._process = subprocess.Popen(
                    [*command, str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    pass_fds=self.ledger_descriptors,
                    start_new_session=True,  # Ctrl-C reaches only the search, and the group is killed as one
                )
                with contextlib.ExitStack() as process:
                    process.callback(self._end)
                    self._reader.start()
                    process.pop_all()
            except (OSError, RuntimeError, MemoryError) as error:  # RuntimeError: no thread
                raise WorkerNotStarted(f"the worker process could not be started: {error}") from error
            self._stack = stack.pop_all()

    def is_alive(self) -> bool:
        """Return whether the process is running."""
        return self._process.poll() is None

    def run(
        self,
        request: TrialRequest,
        timeout_s: float,
        on_stage: Callable[[Stage], None],
        give_up: GiveUp,
        watch: TrialWatch,
    ) -> Done | Stale | Ended:
        """Order a trial and wait for its end.

        Args:
            request: The trial.
            timeout_s: Time limit of the whole trial, in seconds.
            on_stage: Called with each stage that the worker begins.
            give_up: Called with what is measured so far; returns the reason to end the trial early, or None.
            watch: Asked every second whether the trial must end.
        """
        start = _Start(time.monotonic(), self._log.seek(0, os.SEEK_END), RefusalCounter(self._ledgers))
        stage, stage_start_s = Stage("open"), 0.0
        self._send(request)
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, min(_CHECK_S, timeout_s - start.elapsed_s)))
            except queue.Empty:
                trial_s = start.elapsed_s
                if trial_s < timeout_s:
                    if why := watch.check(stage, trial_s - stage_start_s, trial_s):
                        return self._failed("slow", why, start)
                    continue
                detail = f"no result after {timeout_s:.0f} s, last seen at: {stage.words()}"
                return self._failed("hung", detail, start)
            if line is None:
                return self._death(stage, start)
            try:
                message = MESSAGE.validate_json(line)
            except ValidationError:
                detail = f"the worker wrote an invalid message: {line[:80]!r}"
                return self._failed("protocol", detail, start)
            if isinstance(message, Done | Stale):
                return message
            if isinstance(message, Progress):
                self._send(GoOn(give_up(message)))
            else:
                stage, stage_start_s = message, start.elapsed_s
                on_stage(stage)

    def close(self) -> None:
        """Kill the worker and its process group.

        A process that waits inside a hung driver is left behind; it ends with the driver.
        """
        self._end()
        self._stack.close()

    def _end(self) -> None:
        lifetime.end(self._process, group=True)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._reader.ident is not None:
            self._reader.join(_EXIT_TIMEOUT_S)
        elif self._process.stdout is not None:  # the thread that closes the pipe was not started
            self._process.stdout.close()

    def _death(self, stage: Stage, start: _Start) -> Ended:
        """Return the outcome of a trial whose worker closed its pipe without one."""
        reason: FailedReason = "crashed"
        return_code = lifetime.wait(self._process, _EXIT_TIMEOUT_S)
        if return_code is None:
            reason, how = "hung", f"closed its pipe and did not end within {_EXIT_TIMEOUT_S:.0f} s"
        else:
            how = f"ended with {lifetime.describe_exit(return_code)}"
        detail = f"the worker {how} at: {stage.words()}"
        log = self._log_lines(start)
        return classify(stage, detail, log, start.refusals.count(), start.elapsed_s, reason=reason)

    def _failed(self, reason: FailedReason, detail: str, start: _Start) -> Failed:
        return failed(reason, detail, self._log_lines(start), start.elapsed_s)

    def _log_lines(self, start: _Start) -> list[str]:
        try:
            end = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(start.log_bytes, end - _LOG_BYTES))
            return self._log.read().decode(errors="replace").splitlines()
        except OSError:
            return []

    def _read(self) -> None:
        if self._process.stdout is not None:
            with contextlib.suppress(OSError), self._process.stdout as pipe:  # a broken pipe has ended
                for line in pipe:
                    self._lines.put(line)
        self._lines.put(None)

    def _send(self, order: Order) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died at once, which `run` reports
                self._process.stdin.write(ORDER.dump_json(order) + b"\n")
                self._process.stdin.flush()


def _ledgers(target: Target, stack: contextlib.ExitStack) -> list["Ledger"]:
    """Create the emulated cards' ledgers; the stack closes them."""
    if target.kind != "emulated":
        return []
    from layertune.devices.emulated.ledger import Ledger

    ledgers = []
    for card in target.devices:
        ledgers.append(Ledger.create(card.vram_bytes or 0))
        stack.callback(ledgers[-1].close)
    return ledgers
