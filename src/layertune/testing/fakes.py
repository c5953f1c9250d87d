"""A trial runner without models: memory is linear in layers, time per token too."""

from collections.abc import Callable
from dataclasses import dataclass, field

from layertune.memory.buffers import BufferBytes
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import Infeasible, Measured, ModelReport, ModelSamples, TrialOutcome
from layertune.units import MIB
from layertune.vram.report import VramReport

_BYTES_PER_LAYER = 10 * MIB
_BYTES_PER_TOKEN_OF_CONTEXT = 1024


def needed_bytes(engine: EngineSettings) -> int:
    return engine.n_gpu_layers * _BYTES_PER_LAYER + engine.n_ctx * _BYTES_PER_TOKEN_OF_CONTEXT


def measured(settings: SplitSettings) -> Measured:
    """Return the figures of a card without a cap: a layer on it makes its model faster, the others a little slower."""
    reports = {}
    n_layers = sum(engine.n_gpu_layers for _, engine in settings.items())
    for name, engine in settings.items():
        others = n_layers - engine.n_gpu_layers
        speed = 10.0 + engine.n_gpu_layers + engine.n_batch / 1024 - 0.1 * others
        samples = ModelSamples((speed * 10,) * 3, (speed,) * 3, (1 / speed,) * 3, (speed,) * 3, (speed / 2,) * 3)
        buffers = {"gpu0": BufferBytes(weights_bytes=needed_bytes(engine)), "host": BufferBytes(weights_bytes=MIB)}
        reports[name] = ModelReport(samples, buffers, load_s=0.1, flash_attn=True)
    peak_bytes = sum(needed_bytes(engine) for _, engine in settings.items())
    return Measured(reports, VramReport(peak_bytes, 0, "card", "ledger"), peak_rss_bytes=MIB, duration_s=0.01)


@dataclass(slots=True)
class FakeRunner:
    """Runs settings on a card of `cap_bytes`; `before` sees each setting first and may raise or kill."""

    cap_bytes: int = 400 * MIB
    before: Callable[[SplitSettings], None] = lambda _settings: None
    ran: list[SplitSettings] = field(default_factory=list)

    def run(self, settings: SplitSettings) -> TrialOutcome:
        self.ran.append(settings)
        self.before(settings)
        outcome = measured(settings)
        excess_bytes = sum(needed_bytes(engine) for _, engine in settings.items()) - self.cap_bytes
        if excess_bytes > 0:
            return Infeasible("load", list(settings)[-1], "unable to allocate card buffer", excess_bytes, 0.01)
        return outcome
