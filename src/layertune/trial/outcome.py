"""The outcome of a trial: `Measured`, `Infeasible` or `Failed`. A missing value is None, never a number.

Outcomes are sent through the worker's pipe and stored in the study as JSON, so they contain plain data only.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from layertune.memory.buffers import BufferBytes
from layertune.trial.time_spent import TimeSpent
from layertune.vram.vram_report import VramReport

RefusedStage = Literal["load", "kv_cache", "compute", "decode", "spilled"]
FailedReason = Literal["crashed", "hung", "protocol", "error", "slow"]


@dataclass(frozen=True, slots=True)
class ModelSamples:
    """Raw samples of one model, one value per repetition, in the order measured.

    An embedding or reranking model has none of generated tokens: its tokens_per_s counts those of the prompt, and its
    time to first token ends with the result.

    Attributes:
        pp_tokens_per_s: Prompt processing speed.
        tg_tokens_per_s: Token generation speed at the depth of the prompt, timed separately. It includes sampling as
            llama-server does by default, except in studies that have no `decode_tokens_per_s`.
        ttft_s: Time from the call to the first token.
        tokens_per_s: n_generate / (n_prompt / pp + n_generate / tg) of the same repetition.
        tokens_per_s_together: The same while all models run their workloads at once.
        ttft_s_beside_prefill: Time to first token while every other model processes a long prompt.
        tpot_s_beside_prefill: Time per further token in the same state.
        decode_tokens_per_s: Token generation speed without sampling, as llama-bench measures it.
        pp_tokens_per_s_half: Prompt processing speed in a turn that begins at half context.
        tg_tokens_per_s_half: Token generation speed in the same turn.
        turn_s: Time of the same turn: its new prompt tokens, and its answer.
        pp_tokens_per_s_full: Prompt processing speed in a turn that ends at full context.
        tg_tokens_per_s_full: Token generation speed in the same turn.
        fill_s: Time to fill the context, with both turns.
    """

    pp_tokens_per_s: tuple[float, ...]
    tg_tokens_per_s: tuple[float, ...]
    ttft_s: tuple[float, ...]
    tokens_per_s: tuple[float, ...]
    tokens_per_s_together: tuple[float, ...] = ()
    ttft_s_beside_prefill: tuple[float, ...] = ()
    tpot_s_beside_prefill: tuple[float, ...] = ()
    decode_tokens_per_s: tuple[float, ...] = ()
    pp_tokens_per_s_half: tuple[float, ...] = ()
    tg_tokens_per_s_half: tuple[float, ...] = ()
    turn_s: tuple[float, ...] = ()
    pp_tokens_per_s_full: tuple[float, ...] = ()
    tg_tokens_per_s_full: tuple[float, ...] = ()
    fill_s: tuple[float, ...] = ()

    @property
    def tpot_s(self) -> tuple[float, ...]:
        """Time per output token after the first."""
        return tuple(1 / rate for rate in self.tg_tokens_per_s)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The results of one model in a trial.

    Attributes:
        samples: Its speeds and latencies.
        buffers: The sizes of its buffers by device, as llama.cpp logged them.
        load_s: Time to load its weights and create its context, in seconds.
        flash_attn: Whether it used flash attention; None if llama.cpp did not log its choice for `auto`.
    """

    samples: ModelSamples
    buffers: dict[str, BufferBytes]
    load_s: float
    flash_attn: bool | None


@dataclass(frozen=True, slots=True)
class Held:
    """The models whose weights, and those whose contexts, were in memory at the end of a phase."""

    weights: tuple[str, ...]
    contexts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A trial that was measured.

    Attributes:
        models: Each model's results.
        vram: The memory of the device; None on a CPU.
        peak_rss_bytes: Largest resident memory of the worker.
        duration_s: How long the trial took.
        warnings: What to know about the results, a sentence fragment each.
        disturbances: Reasons to measure them again.
        held: What was in memory at the end of each phase of `vram`.
        clock: How the trial's time is divided.
        stopped: Why the trial ended early, if it was clearly worse than others.
    """

    models: dict[str, ModelReport]
    vram: VramReport | None
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
    """A trial that did not fit into memory.

    Attributes:
        stage: Where memory was refused.
        model: The model that was being loaded or run, None if it was several.
        evidence: The log line or observation that shows it.
        excess_bytes: By how much it exceeded the device, None if that is not reported.
        duration_s: How long the trial took.
    """

    stage: RefusedStage
    model: str | None
    evidence: str
    excess_bytes: int | None
    duration_s: float
    state: Literal["infeasible"] = "infeasible"


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial that ended without results and without evidence of memory.

    Attributes:
        reason: The kind of failure.
        detail: What happened, as a sentence fragment.
        log_tail: The last lines that llama.cpp and the worker printed.
        duration_s: How long the trial took.
    """

    reason: FailedReason
    detail: str
    log_tail: tuple[str, ...]
    duration_s: float
    state: Literal["failed"] = "failed"


TrialOutcome = Measured | Infeasible | Failed

OUTCOME: TypeAdapter[TrialOutcome] = TypeAdapter(Annotated[TrialOutcome, Field(discriminator="state")])
