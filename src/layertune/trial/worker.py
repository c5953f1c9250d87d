"""A worker process, started by `layertune.trial.worker_process` as `python -m layertune.trial.worker`.

It runs one trial after the other, and keeps weights on the device between them. It reads orders from standard input,
and ends at its end of file, which means that the search is gone. It answers on its original standard output; anything
else that is printed goes to standard error.
"""

import os
import queue
import sys
from contextlib import suppress
from io import TextIOWrapper
from time import perf_counter
from typing import TYPE_CHECKING

from layertune.devices import lifetime
from layertune.devices.open_device import OpenDevice, open_device
from layertune.engine import library
from layertune.engine.refusal import EngineRefused
from layertune.errors import LayertuneError
from layertune.trial.evidence import RefusalCounter, classify
from layertune.trial.messages import MESSAGE, ORDER, Done, GoOn, Message, Order, Progress, Stage, Stale, TrialRequest
from layertune.trial.outcome import Failed, TrialOutcome
from layertune.trial.time_spent import TimeSpent
from layertune.trial.worker_state import WorkerState
from layertune.trial.worker_trial import measure
from layertune.vram.probe_selection import read_before_opening

if TYPE_CHECKING:  # Windows has no emulated card
    from layertune.devices.emulated.ledger import Ledger


class Channel:
    """Sends messages to the search and receives its orders. `stage` is the last one announced."""

    def __init__(self) -> None:
        self._stream = TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8", line_buffering=True)
        os.dup2(2, 1)
        self._lines: queue.Queue[str] = queue.Queue()
        lifetime.watch_standard_input(self._lines.put)
        self.stage = Stage("open")

    def receive(self) -> Order:
        """Wait for the next order."""
        return ORDER.validate_json(self._lines.get())

    def announce(self, stage: Stage) -> None:
        """Report the stage that begins."""
        self.stage = stage
        self.send(stage)

    def report_progress(self, progress: Progress) -> str | None:
        """Report what is measured so far; return the reason to end the trial early, or None."""
        self.send(progress)
        answer = self.receive()
        return answer.stop if isinstance(answer, GoOn) else None

    def send(self, message: Message) -> None:
        """Send a message to the search."""
        self._stream.write(MESSAGE.dump_json(message).decode() + "\n")


class Worker:
    """Runs the trials that the search orders, on the device of the first one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._device: OpenDevice | None = None
        self._state: WorkerState | None = None

    def run(self, request: TrialRequest) -> Done | Stale:
        """Run one trial; every error is its outcome."""
        started_s, log_start = perf_counter(), library.log().mark()
        refusals = RefusalCounter(_ledgers(request))
        try:
            state = self._state or self._open(request)
            return measure(request, state, self._channel.announce, self._channel.report_progress)
        except EngineRefused as refused:
            outcome: TrialOutcome = classify(
                self._channel.stage,
                refused.detail,
                library.log().since(log_start),
                refusals.count(),
                perf_counter() - started_s,
                reason="error",
                refused_stage=refused.stage,
            )
        except LayertuneError as error:
            outcome = Failed("error", str(error), (), perf_counter() - started_s)
        return Done(outcome, TimeSpent(), stays=False)

    def close(self) -> None:
        """Close the device, if it was opened."""
        if self._device is not None:
            self._device.close()

    def _open(self, request: TrialRequest) -> WorkerState:
        self._channel.announce(Stage("open"))
        library.log().copy_to(sys.stderr)
        before = read_before_opening(request.target)
        names = [task.name for task in request.models]
        self._device = open_device(request.target, names, request.ledger_descriptors)
        self._state = WorkerState(request, self._device, before)
        return self._state


def _ledgers(request: TrialRequest) -> list["Ledger"]:
    """Return views of the emulated cards' ledgers."""
    if not request.ledger_descriptors:
        return []
    from layertune.devices.emulated.ledger import Ledger

    return [Ledger(descriptor) for descriptor in request.ledger_descriptors]


def main(arguments: list[str]) -> None:
    """Run orders until one leaves the worker unusable; the argument is the search's process id."""
    lifetime.die_with_parent(int(arguments[0]))
    channel = Channel()
    worker = Worker(channel)
    stays = True
    while stays:
        order = channel.receive()
        if isinstance(order, TrialRequest):
            answer = worker.run(order)
            stays = isinstance(answer, Done) and answer.stays
            channel.send(answer)
            with suppress(OSError):  # the disk is full; the worker goes on without its log
                sys.stderr.flush()
    worker.close()
    os._exit(0)  # skip llama.cpp's exit handlers, for which the search would wait


if __name__ == "__main__":
    main(sys.argv[1:])
