"""A verification without a llama.cpp: fake servers, a device whose memory is written down, a stack of two models."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from finished_study import result
from layertune.testing import FakeServer, serving
from layertune.units import MIB
from layertune.verify.client import Endpoint
from layertune.verify.record import Load, PlanCheck
from layertune.verify.servers import ServerFailed
from layertune.verify.stack import ServedModel, Stack, stack_of
from layertune.vram.vram_report import VramReport

FITS = PlanCheck(True, "100.0 MiB of 200.0 MiB", None, 200 * MIB, {"chat": 60 * MIB, "code": 40 * MIB})
LOAD = Load(3, 0.3, {"chat": (64, 16), "code": (64, 16)})


def stack() -> Stack:
    return stack_of(result(), result().trial(1), {"chat": Path("/models"), "code": Path("/models")}, {})


def fakes() -> dict[str, FakeServer]:
    return {name: FakeServer(alias=name, model_path=f"/models/{model.file}") for name, model in result().models.items()}


@dataclass
class Card:
    """Memory in MiB: what each server takes of it, what is left when all have ended; `grows` after every reading."""

    takes: Mapping[str, int]
    before: int = 0
    grows: int = 0
    left: int = 0
    used: int = 0
    peak: int = 0

    def start(self) -> None:
        self.peak = self.used

    def mark(self, phase: str) -> None:
        """Nothing here has phases."""

    def read(self) -> int:
        now = self.used
        self.change(self.grows if now else 0)
        return now * MIB

    def stop(self) -> VramReport:
        return VramReport(self.peak * MIB, self.before * MIB, "card", "ledger")

    def change(self, by: int) -> None:
        self.used += by
        self.peak = max(self.peak, self.used)


@dataclass
class PlayedServers:
    """Servers on that card. `fails` is how one ends at its start; `dies_after` so many looks at them, one ends."""

    urls: Mapping[str, str]
    card: Card
    fails: Mapping[str, ServerFailed] = field(default_factory=dict)
    dies_after: int | None = None
    were_there: bool = False
    stopped: bool = False
    n_checks: int = 0

    def start(self, model: ServedModel) -> Endpoint:
        if model.name in self.fails:
            raise self.fails[model.name]
        self.card.change(self.card.takes[model.name])
        return Endpoint(self.urls[model.name], "llama-server", model.name)

    def confirm(self, name: str) -> None:
        """It is."""

    def check(self) -> None:
        self.n_checks += 1
        if self.dies_after is not None and self.n_checks > self.dies_after:
            raise ServerFailed("the server of chat ended with signal SIGABRT; its last output: ggml_abort")

    def stop(self) -> None:
        self.stopped = True
        self.card.used, self.card.grows = self.card.left, 0


@contextmanager
def served(fakes: Mapping[str, FakeServer]) -> Iterator[dict[str, str]]:
    with ExitStack() as open_:
        yield {name: open_.enter_context(serving(fake)) for name, fake in fakes.items()}
