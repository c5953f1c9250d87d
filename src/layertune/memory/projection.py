"""What llama.cpp reports of a context that it creates without allocating it: bytes, as plain values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layertune.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class CacheTotal:
    """One cache as llama.cpp's log has it: its layers, and what they take together, to 0.01 MiB for K and for V.

    Its layers' rows are as wide as their key-value heads, those of an indexer's cache are all alike (`is_indexer`).
    """

    layers: tuple[int, ...]
    k_bytes: int
    v_bytes: int
    is_indexer: bool = False

    @property
    def n_bytes(self) -> int:
        return self.k_bytes + self.v_bytes


@dataclass(frozen=True, slots=True)
class Projection:
    """A context that llama.cpp created without allocating it.

    `compute_bytes` by device (`"gpu0"`, `"host"`), `state_bytes` of recurrent layers by device, `flash_attn` is what
    `auto` became.
    """

    compute_bytes: Mapping[str, int]
    output_bytes: int
    caches: tuple[CacheTotal, ...]
    state_bytes: Mapping[str, int]
    flash_attn: bool | None


# Asks for one setting of one model, in the form of `EngineSettings.memory_key`; None where llama.cpp refuses it.
Projector = Callable[[EngineSettings], Projection | None]
