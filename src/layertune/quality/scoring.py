"""What is scored, and the messages between a measurement and its worker process."""

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from layertune.devices.target import Target
from layertune.quality.blocks import Block
from layertune.quality.texts import LEAST_TOKENS, Text
from layertune.settings import CacheType, EngineSettings, FlashAttention

_CPU = Target("cpu", "CPU")
_ALL_LAYERS = 9999


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model file with the types of its K and V cache."""

    path: Path
    type_k: CacheType = "f16"
    type_v: CacheType = "f16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How texts are scored.

    Threads, and batches of 128 or more, change no logit (docs/quality.md).

    Attributes:
        n_threads: The threads of the CPU.
        target: Where layers are computed. An emulated card only makes the same computation slower: the CPU is used.
        flash_attn: As it will be deployed.
        n_ctx: The length of each piece of text, in tokens.
        n_first: The first position whose prediction is scored: earlier ones have too little context.
        n_ubatch: The physical batch.
        least_tokens: How many tokens are scored at first.
        most_tokens: How many are scored while the standard error is too large.
    """

    n_threads: int
    target: Target = _CPU
    flash_attn: FlashAttention = "auto"
    n_ctx: int = LEAST_TOKENS
    n_first: int = 32
    n_ubatch: int = 128
    least_tokens: int = 2000
    most_tokens: int = 6000

    @property
    def device(self) -> Target:
        """The device that is used."""
        return _CPU if self.target.kind == "emulated" else self.target

    @property
    def n_scored(self) -> int:
        """How many tokens of a piece are scored."""
        return self.n_ctx - self.n_first - 1

    def engine(self, candidate: Candidate) -> EngineSettings:
        """Return llama.cpp's settings for one candidate, with all layers on the device."""
        return EngineSettings(
            n_gpu_layers=0 if self.device.kind == "cpu" else _ALL_LAYERS,
            n_ctx=self.n_ctx,
            n_batch=max(self.n_ubatch, 128),
            n_ubatch=self.n_ubatch,
            n_threads=self.n_threads,
            flash_attn=self.flash_attn,
            type_k=candidate.type_k,
            type_v=candidate.type_v,
        )

    def with_small_batch(self) -> "Scoring":
        """Return the scoring that measures the floor: the same with another physical batch."""
        return replace(self, n_ubatch=32)


@dataclass(frozen=True, slots=True)
class Item:
    """One pass over the texts: a candidate and how it is scored.

    `not_comparable` says why its distributions are not compared with the reference's, if that is known before.
    """

    candidate: Candidate
    scoring: Scoring
    not_comparable: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The order to a worker: score the items against the reference."""

    reference: Item
    items: tuple[Item, ...]
    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """The worker scored `n_tokens` more, or none yet. `item` is an index of the job's items, None for the reference."""

    item: int | None
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Scored:
    """An item is finished.

    Attributes:
        item: Its index.
        blocks: The sums over its tokens.
        not_comparable: Why its distributions cannot be compared with the reference's; None if they can.
        duration_s: How long it took, without the reference.
    """

    item: int
    blocks: tuple[Block, ...]
    not_comparable: str | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """An item, or the reference if `item` is None, cannot be scored."""

    item: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class TooShort:
    """A text has so few of the reference's tokens that no whole context is scored. Nothing was loaded."""

    kind: str
    n_tokens: int


Message = Progress | Scored | Refused | TooShort
JOB: TypeAdapter[Job] = TypeAdapter(Job)
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
