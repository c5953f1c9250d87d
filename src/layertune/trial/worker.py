"""The worker process of one trial: `python -m layertune.trial.worker`, started by `layertune.trial.process`.

It reads one request from standard input, whose end means that the search is gone, and answers on what was its standard
output; whatever else anything prints there goes to standard error.
"""

import os
import queue
import sys
from io import TextIOWrapper
from time import perf_counter

from layertune.devices import lifetime
from layertune.devices.opened import open_device
from layertune.engine import library
from layertune.engine.refusal import EngineRefused
from layertune.errors import LayertuneError
from layertune.trial.evidence import Refusals, classify
from layertune.trial.measurement import measure
from layertune.trial.messages import MESSAGE, REQUEST, Done, Message, Stage, TrialRequest
from layertune.trial.outcome import Failed, TrialOutcome
from layertune.vram.opening import open_probe

_LOG_TAIL_LINES = 20


class Channel:
    """Messages to the search. Keeps the last stage, which is where a refusal happened."""

    def __init__(self) -> None:
        self._stream = TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8", line_buffering=True)
        os.dup2(2, 1)
        self.stage = Stage("open")

    def announce(self, stage: Stage) -> None:
        self.stage = stage
        self.send(stage)

    def send(self, message: Message) -> None:
        self._stream.write(MESSAGE.dump_json(message).decode() + "\n")


def main(arguments: list[str]) -> None:
    lifetime.die_with_parent(int(arguments[0]))
    channel = Channel()
    lines: queue.Queue[str] = queue.Queue()
    lifetime.watch_standard_input(lines.put)
    request = REQUEST.validate_json(lines.get())
    channel.send(Done(run_trial(request, channel)))
    sys.stderr.flush()
    os._exit(0)  # the outcome is out; llama.cpp's threads and exit handlers must not hold the search up


def run_trial(request: TrialRequest, channel: Channel) -> TrialOutcome:
    started_s = perf_counter()
    channel.announce(Stage("open"))
    library.log().echo(sys.stderr)
    names = [task.name for task in request.models]
    try:
        device = open_device(request.target, names, request.ledger_descriptor)
    except LayertuneError as error:
        return Failed("error", str(error), (), perf_counter() - started_s)
    try:
        probe = open_probe(request.target, device, request.ledger_descriptor, names[0])
        return measure(request, device, probe, channel.announce)
    except EngineRefused as refused:
        return classify(
            channel.stage,
            refused.detail,
            library.log().tail(_LOG_TAIL_LINES),
            _refusals(request),
            perf_counter() - started_s,
            reason="error",
            refused_stage=refused.stage,
        )
    finally:
        device.close()


def _refusals(request: TrialRequest) -> Refusals | None:
    if request.ledger_descriptor is None:
        return None
    from layertune.devices.emulated.ledger import Ledger

    card = Ledger(request.ledger_descriptor).state()
    return Refusals(card.n_refused, card.excess_bytes)


if __name__ == "__main__":
    main(sys.argv[1:])
