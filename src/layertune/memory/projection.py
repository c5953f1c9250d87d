"""What llama.cpp reports of a context that it creates without allocating it: bytes, as plain values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layertune.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class CacheTotal:
    """One cache in llama.cpp's log: its layers and their total bytes, K and V each rounded to 0.01 MiB.

    A layer's rows are in proportion to its key-value heads; in an indexer's cache (`is_indexer`) all rows are equal.
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
    """The sizes of a context that llama.cpp created without allocating it.

    `compute_bytes` and `state_bytes` (of recurrent layers) are by device: `"gpu0"`, `"host"`. `flash_attn` is what
    llama.cpp chose for `auto`, None if it reported nothing.
    """

    compute_bytes: Mapping[str, int]
    output_bytes: int
    caches: tuple[CacheTotal, ...]
    state_bytes: Mapping[str, int]
    flash_attn: bool | None


# Returns the projection of one setting of one model, in the form of `EngineSettings.memory_key`; None if llama.cpp
# refuses the setting.
Projector = Callable[[EngineSettings], Projection | None]
