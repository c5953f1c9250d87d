"""Which device holds each layer and each tensor of a model (src/llama-model.cpp, load_tensors)."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.memory.buffers import HOST, device_name
from layertune.models import ModelShape
from layertune.models.ggml_types import ALIGNMENT
from layertune.settings import TensorSplit, split_layers
from layertune.units import pad

MAPPED = "CPU"
EMBEDDING = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class TensorPlacement:
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
class TensorInventory:
    """The tensors that llama.cpp loads of a model, by name; the file may hold more."""

    tensors: Mapping[str, TensorPlacement]
    alignment_bytes: int

    @classmethod
    def plain(cls, shape: ModelShape, alignment_bytes: int = ALIGNMENT) -> "TensorInventory":
        """What holds where nobody was asked: every tensor is used, and the host maps the file."""
        homes = {
            tensor.name: TensorPlacement(
                pad(tensor.n_bytes, alignment_bytes),
                is_duplicated=tensor.name == EMBEDDING and shape.tied_embeddings,
            )
            for tensor in shape.tensors
        }
        return cls(homes, alignment_bytes)


def layer_devices(n_layer: int, n_gpu_layers: int, tensor_split: TensorSplit) -> tuple[str, ...]:
    """Return the device of every repeating layer and, last, of the output layer: `n_layer` + 1 names.

    The first layers stay on the host; those after them fill the devices one after the other.
    """
    n_gpu_layers = min(n_gpu_layers, n_layer + 1)
    homes = [HOST] * (n_layer + 1 - n_gpu_layers)
    for index, n_layers in enumerate(split_layers(tensor_split, n_gpu_layers) or (n_gpu_layers,)):
        homes += [device_name(index)] * n_layers
    return tuple(homes)
