"""The real trial runner: every trial in a fresh worker process, whose death or hang is only an outcome."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from pydantic import ValidationError

from layertune.devices.target import Target
from layertune.settings import SplitSettings
from layertune.trial.evidence import Refusals, classify
from layertune.trial.messages import MESSAGE, REQUEST, Done, ModelTask, Stage, TrialRequest
from layertune.trial.outcome import Failed, FailedReason, TrialOutcome

WORKER_COMMAND = (sys.executable, "-m", "layertune.trial.worker")

_EXIT_TIMEOUT_S = 10.0
_LOG_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Workplace:
    """What stays the same over all trials of a study. `paths` and `workloads` (prompt, generated tokens) by model."""

    target: Target
    paths: Mapping[str, str]
    workloads: Mapping[str, tuple[int, int]]
    seed: int
    n_repeats: int
    trial_timeout_s: float


class ProcessTrialRunner:
    """Runs trials in worker processes, one at a time, from the thread that lives as long as the search."""

    def __init__(
        self,
        workplace: Workplace,
        *,
        on_stage: Callable[[Stage], None] = lambda _stage: None,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._workplace = workplace
        self._on_stage = on_stage
        self._command = tuple(command)

    def run(self, settings: SplitSettings) -> TrialOutcome:
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(tempfile.TemporaryFile())
            ledger_descriptor, refusals = _card(self._workplace.target, stack)
            worker = _Worker(self._command, self._request(settings, ledger_descriptor), log)
            stack.callback(worker.kill)
            return worker.outcome(self._workplace.trial_timeout_s, self._on_stage, refusals)

    def _request(self, settings: SplitSettings, ledger_descriptor: int | None) -> TrialRequest:
        place = self._workplace
        tasks = tuple(
            ModelTask(name, place.paths[name], engine, *place.workloads[name]) for name, engine in settings.items()
        )
        return TrialRequest(tasks, place.target, ledger_descriptor, place.seed, place.n_repeats)


class _Worker:
    """One worker process and its pipes."""

    def __init__(self, command: tuple[str, ...], request: TrialRequest, log: IO[bytes]) -> None:
        self._log = log
        self._started_s = time.monotonic()
        inherited = () if request.ledger_descriptor is None else (request.ledger_descriptor,)
        self._process = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=inherited,
            start_new_session=True,  # a group of its own: Ctrl-C reaches the search only, and the group dies as one
        )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, name="worker-messages", daemon=True).start()
        with contextlib.suppress(BrokenPipeError):  # it died at once; its missing outcome will tell
            self._send(REQUEST.dump_json(request))

    def outcome(
        self, timeout_s: float, on_stage: Callable[[Stage], None], refusals: Callable[[], Refusals | None]
    ) -> TrialOutcome:
        stage = Stage("open")
        deadline_s = self._started_s + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                return self._failed("hung", f"no result after {timeout_s:.0f} s, last seen at: {_words(stage)}")
            if line is None:
                return self._death(stage, refusals())
            try:
                message = MESSAGE.validate_json(line)
            except ValidationError:
                return self._failed("protocol", f"the worker wrote what is no message: {line[:80]!r}")
            if isinstance(message, Done):
                return message.outcome
            stage = message
            on_stage(stage)

    def kill(self) -> None:
        """End the worker and all its children, whatever state they are in."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(timeout=_EXIT_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _death(self, stage: Stage, refusals: Refusals | None) -> TrialOutcome:
        """The worker closed its pipe without an outcome."""
        status = self._process.wait(timeout=_EXIT_TIMEOUT_S)
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        detail = f"the worker ended with {how} at: {_words(stage)}"
        return classify(stage, detail, self._log_lines(), refusals, self._elapsed_s(), reason="crashed")

    def _failed(self, reason: FailedReason, detail: str) -> Failed:
        return Failed(reason, detail, tuple(self._log_lines()[-20:]), self._elapsed_s())

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def _log_lines(self) -> list[str]:
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - _LOG_BYTES))
        return self._log.read().decode(errors="replace").splitlines()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _send(self, line: bytes) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()


def _card(target: Target, stack: contextlib.ExitStack) -> tuple[int | None, Callable[[], Refusals | None]]:
    """Return an emulated card's ledger, made here so that its counts outlive the worker, and how to read them."""
    if target.kind != "emulated" or target.vram_bytes is None:
        return None, lambda: None
    from layertune.devices.emulated.ledger import Ledger

    ledger = Ledger.create(target.vram_bytes)
    stack.callback(ledger.close)

    def refusals() -> Refusals:
        card = ledger.state()
        return Refusals(card.n_refused, card.excess_bytes)

    return ledger.descriptor, refusals


def _words(stage: Stage) -> str:
    return stage.name if stage.model is None else f"{stage.name} {stage.model}"
