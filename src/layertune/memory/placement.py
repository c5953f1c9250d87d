"""Which device holds each layer and each tensor of a model (src/llama-model.cpp, load_tensors)."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.memory.buffers import HOST, device_name
from layertune.models import ModelShape
from layertune.models.ggml_types import ALIGNMENT
from layertune.tensor_split import TensorSplit, split_layers
from layertune.units import pad

MAPPED = "CPU"
EMBEDDING = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class TensorPlacement:
    """Where a tensor can be, and its size there.

    `device_bytes` is its size on a device, padding included. `host_buffers` are the ggml buffer types that hold it
    when it is on the host: `MAPPED` is the mapped file, any other type is a copy. A tied embedding can have two: one
    as the input layer, one as the output layer.
    """

    device_bytes: int
    host_buffers: tuple[str, ...] = (MAPPED,)
    is_duplicated: bool = False
    """Whether it is the token embedding of a model that also uses it as the output layer."""
    is_lazy: bool = False
    """Whether its rows are read from the file only when needed; it then has its own mapping on the host."""


@dataclass(frozen=True, slots=True)
class TensorInventory:
    """The tensors of a model that llama.cpp loads, by name. The file may have more."""

    tensors: Mapping[str, TensorPlacement]
    alignment_bytes: int

    @classmethod
    def plain(cls, shape: ModelShape, alignment_bytes: int = ALIGNMENT) -> "TensorInventory":
        """Return the inventory without asking llama.cpp: every tensor is used, and the host maps the file."""
        tensors = {
            tensor.name: TensorPlacement(
                pad(tensor.n_bytes, alignment_bytes),
                is_duplicated=tensor.name == EMBEDDING and shape.tied_embeddings,
            )
            for tensor in shape.tensors
        }
        return cls(tensors, alignment_bytes)


def layer_devices(n_layer: int, n_gpu_layers: int, tensor_split: TensorSplit) -> tuple[str, ...]:
    """Return the device of every repeating layer and, last, of the output layer: `n_layer` + 1 names.

    The first layers stay on the host; those after them fill the devices one after the other.
    """
    n_gpu_layers = min(n_gpu_layers, n_layer + 1)
    devices = [HOST] * (n_layer + 1 - n_gpu_layers)
    for index, n_layers in enumerate(split_layers(tensor_split, n_gpu_layers) or (n_gpu_layers,)):
        devices += [device_name(index)] * n_layers
    return tuple(devices)
