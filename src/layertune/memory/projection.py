"""What only llama.cpp can say of a model's memory, as values: asked of it without allocating anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layertune.models import ModelShape
from layertune.models.types import ALIGNMENT
from layertune.settings import EngineSettings
from layertune.units import pad

MAPPED = "CPU"
EMBEDDING = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class TensorHome:
    """Where a tensor lives. `device_bytes` is what the device needs for it, its padding included.

    `host_buffers` are the ggml buffer types that hold it while it is on the host: `MAPPED` is the file itself, anything
    else a copy. A tied embedding can have two, as input and as output layer.
    """

    device_bytes: int
    host_buffers: tuple[str, ...] = (MAPPED,)
    is_duplicated: bool = False
    """The token embedding of a model that has no output layer and uses the embedding as one."""
    is_lazy: bool = False
    """Its rows are read from the file when they are needed; a mapping of its own holds it, on the host."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The tensors that llama.cpp loads of a model, by name; the file may hold more."""

    tensors: Mapping[str, TensorHome]
    alignment_bytes: int

    @classmethod
    def plain(cls, shape: ModelShape, alignment_bytes: int = ALIGNMENT) -> "Anatomy":
        """What holds where nobody was asked: every tensor is used, and the host maps the file."""
        homes = {
            tensor.name: TensorHome(
                pad(tensor.n_bytes, alignment_bytes),
                is_duplicated=tensor.name == EMBEDDING and shape.tied_embeddings,
            )
            for tensor in shape.tensors
        }
        return cls(homes, alignment_bytes)


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
