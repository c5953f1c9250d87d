"""What became of one trial: `Measured`, `Infeasible` or `Failed`. Nothing stands in for a missing figure.

These values cross the worker's pipe and are stored in the study as JSON, so they hold plain data only.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from layertune.memory.buffers import BufferBytes
from layertune.trial.time_spent import TimeSpent
from layertune.vram.vram_report import VramReport

RefusedStage = Literal["load", "kv_cache", "compute", "decode", "spilled"]
FailedReason = Literal["crashed", "hung", "protocol", "error"]


@dataclass(frozen=True, slots=True)
class ModelSamples:
    """Raw samples of one model, in the order measured: one value per repetition.

    `pp_tokens_per_s` and `tg_tokens_per_s` are clocked apart, after synchronising, tg at the depth of the prompt;
    `ttft_s` runs from the call to the first token, `tpot_s` is the time of each further one; `tokens_per_s` is
    n_generate / (n_prompt / pp + n_generate / tg) of the same repetition, and `tokens_per_s_together` the same with all
    models running their workloads at once. The last two are TTFT and TPOT while every other model is in a long prompt.
    """

    pp_tokens_per_s: tuple[float, ...]
    tg_tokens_per_s: tuple[float, ...]
    ttft_s: tuple[float, ...]
    tokens_per_s: tuple[float, ...]
    tokens_per_s_together: tuple[float, ...] = ()
    ttft_s_beside_prefill: tuple[float, ...] = ()
    tpot_s_beside_prefill: tuple[float, ...] = ()

    @property
    def tpot_s(self) -> tuple[float, ...]:
        return tuple(1 / rate for rate in self.tg_tokens_per_s)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What one model did in a trial."""

    samples: ModelSamples
    buffers: dict[str, BufferBytes]
    load_s: float
    flash_attn: bool | None  # what `auto` became, None where llama.cpp did not say


@dataclass(frozen=True, slots=True)
class Held:
    """Which models' weights, and which models' contexts, were in memory at the end of a phase."""

    weights: tuple[str, ...]
    contexts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A trial's figures. `held` tells of each of the phases of `vram` what the device held; `disturbances` are why the
    figures should be measured again, `warnings` only what to know about them; `stopped` is why a trial that was
    clearly beaten ended early."""

    models: dict[str, ModelReport]
    vram: VramReport | None  # None on a CPU-only device
    peak_rss_bytes: int
    duration_s: float
    warnings: tuple[str, ...] = ()
    disturbances: tuple[str, ...] = ()
    held: dict[str, Held] = field(default_factory=dict)
    clock: TimeSpent = field(default_factory=TimeSpent)
    stopped: str | None = None
    state: Literal["measured"] = "measured"


@dataclass(frozen=True, slots=True)
class Infeasible:
    """The memory was refused, with the evidence. `excess_bytes` is how far over the device, where it said."""

    stage: RefusedStage
    model: str | None
    evidence: str
    excess_bytes: int | None
    duration_s: float
    state: Literal["infeasible"] = "infeasible"


@dataclass(frozen=True, slots=True)
class Failed:
    """Anything else: no evidence of memory. `log_tail` is the end of what llama.cpp and the worker printed."""

    reason: FailedReason
    detail: str
    log_tail: tuple[str, ...]
    duration_s: float
    state: Literal["failed"] = "failed"


TrialOutcome = Measured | Infeasible | Failed

OUTCOME: TypeAdapter[TrialOutcome] = TypeAdapter(Annotated[TrialOutcome, Field(discriminator="state")])
