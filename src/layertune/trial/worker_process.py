"""One worker process as the search holds it: its pipes, its log, its end."""

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from layertune.devices.target import Target
from layertune.trial.evidence import classify, count_refusals
from layertune.trial.messages import MESSAGE, ORDER, Done, GoOn, Order, Progress, Stage, Stale, TrialRequest
from layertune.trial.outcome import Failed, FailedReason, Infeasible
from layertune.trial.runner import GiveUp

_EXIT_TIMEOUT_S = 10.0
_LOG_BYTES = 64 * 1024

# How a trial ended that sent no `Done`.
Ended = Infeasible | Failed


class WorkerProcess:
    """Started at once, and to be closed; it runs one trial after the other. The emulated cards' ledgers are made here,
    so that their counts outlive the worker."""

    def __init__(self, command: Sequence[str], target: Target) -> None:
        self._stack = contextlib.ExitStack()
        self._log = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self.ledger_descriptors = _cards(target, self._stack)
        self._process = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            pass_fds=self.ledger_descriptors,
            start_new_session=True,  # a group of its own: Ctrl-C reaches the search only, and the group dies as one
        )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="worker-messages", daemon=True)
        self._reader.start()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(
        self, request: TrialRequest, timeout_s: float, on_stage: Callable[[Stage], None], give_up: GiveUp
    ) -> Done | Stale | Ended:
        """Order a trial and follow it to its end; `timeout_s` is for all of it."""
        started_s, log_start = time.monotonic(), self._log.seek(0, os.SEEK_END)
        stage = Stage("open")
        self._send(request)
        while True:
            left_s = started_s + timeout_s - time.monotonic()
            try:
                line = self._lines.get(timeout=max(0.0, left_s))
            except queue.Empty:
                detail = f"no result after {timeout_s:.0f} s, last seen at: {_words(stage)}"
                return self._failed("hung", detail, log_start, started_s)
            if line is None:
                return self._death(stage, log_start, started_s)
            try:
                message = MESSAGE.validate_json(line)
            except ValidationError:
                detail = f"the worker wrote what is no message: {line[:80]!r}"
                return self._failed("protocol", detail, log_start, started_s)
            if isinstance(message, Done | Stale):
                return message
            if isinstance(message, Progress):
                self._send(GoOn(give_up(message)))
            else:
                stage = message
                on_stage(stage)

    def close(self) -> None:
        """End the worker and all its children, whatever state they are in."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(timeout=_EXIT_TIMEOUT_S)
        self._reader.join(_EXIT_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._stack.close()

    def _death(self, stage: Stage, log_start: int, started_s: float) -> Ended:
        """The worker closed its pipe without an outcome."""
        status = self._process.wait(timeout=_EXIT_TIMEOUT_S)
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        detail = f"the worker ended with {how} at: {_words(stage)}"
        return classify(
            stage,
            detail,
            self._log_lines(log_start),
            count_refusals(self.ledger_descriptors),
            time.monotonic() - started_s,
            reason="crashed",
        )

    def _failed(self, reason: FailedReason, detail: str, log_start: int, started_s: float) -> Failed:
        return Failed(reason, detail, tuple(self._log_lines(log_start)[-20:]), time.monotonic() - started_s)

    def _log_lines(self, start: int) -> list[str]:
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(start, end - _LOG_BYTES))
        return self._log.read().decode(errors="replace").splitlines()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _send(self, order: Order) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died at once; its missing outcome will tell
                self._process.stdin.write(ORDER.dump_json(order) + b"\n")
                self._process.stdin.flush()


def _cards(target: Target, stack: contextlib.ExitStack) -> tuple[int, ...]:
    """Return the emulated cards' ledgers, empty."""
    if target.kind != "emulated":
        return ()
    from layertune.devices.emulated.ledger import Ledger

    ledgers = [Ledger.create(card.vram_bytes or 0) for card in target.devices]
    for ledger in ledgers:
        stack.callback(ledger.close)
    return tuple(ledger.descriptor for ledger in ledgers)


def _words(stage: Stage) -> str:
    return stage.name if stage.model is None else f"{stage.name} {stage.model}"
