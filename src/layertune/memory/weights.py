"""Which tensor goes where for each split of the layers, and what that takes (src/llama-model.cpp, load_tensors).

The output layer moves first, then the last repeating layer and so on; the token embedding stays on the host. A model
without an output layer of its own uses the embedding as one, and the device then holds a copy. Experts of the first
`n_cpu_moe` layers stay on the host (common/common.h, LLM_FFN_EXPS_REGEX).
"""

import re
from dataclasses import dataclass

from layertune.memory.buffers import GPU, HOST
from layertune.memory.homes import layer_homes
from layertune.memory.projection import MAPPED, Anatomy, TensorHome
from layertune.models import ModelShape
from layertune.models.types import ALIGNMENT
from layertune.settings import TensorSplit
from layertune.units import pad

# src/llama-arch.cpp: LLM_TENSOR_LAYER_INPUT
_INPUT_NAMES = frozenset({"token_embd", "position_embd", "token_types", "per_layer_token_embd"})
# Created anew for every layer and then shared by all that lie in the same memory.
_SHARED_NAMES = frozenset({"rope_freqs", "rope_factors_long", "rope_factors_short"})
_BLOCK = re.compile(r"blk\.(\d+)\.")
_EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")
_EMBEDDING = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor of the file. `layer` counts the repeating layers, then the output; -1 is the input layer."""

    layer: int
    is_expert: bool
    is_shared: bool
    home: TensorHome
    n_bytes: int
    file: int
    offset: int


class Weights:
    """The weights of one model, for any split of its layers."""

    def __init__(self, shape: ModelShape, anatomy: Anatomy) -> None:
        self._n_layer = shape.n_layer
        self._alignment_bytes = anatomy.alignment_bytes
        self._tensors = _tensors(shape, anatomy)
        self._tied = anatomy.tensors.get(_EMBEDDING) if shape.tied_embeddings else None
        self._splits: dict[tuple[tuple[str, ...], int], dict[str, int]] = {}

    def split(self, n_gpu_layers: int, n_cpu_moe: int = 0, tensor_split: TensorSplit = ()) -> dict[str, int]:
        """Return the bytes on the host, on the first device and on each further one that has a layer. Copies that the
        host repacks count beside the mapped file."""
        key = layer_homes(self._n_layer, n_gpu_layers, tensor_split), n_cpu_moe
        if key not in self._splits:
            self._splits[key] = self._split(*key)
        return dict(self._splits[key])

    def _split(self, homes: tuple[str, ...], n_cpu_moe: int) -> dict[str, int]:
        held = dict.fromkeys((GPU, HOST, *homes), 0)
        copied_bytes = 0
        mapped: dict[int, tuple[int, int]] = {}
        for tensor in self._tensors:
            where = {homes[tensor.layer] if tensor.layer >= 0 else HOST}
            if tensor.is_shared:
                where = set(homes[:-1])  # wherever there is a repeating layer
            elif tensor.is_expert and tensor.layer < n_cpu_moe:
                where = {HOST}
            for device in where - {HOST}:
                held[device] += tensor.home.device_bytes
            if HOST in where:
                if tensor.home.host_buffers[0] == MAPPED:
                    begin, end = mapped.get(tensor.file, (tensor.offset, 0))
                    mapped[tensor.file] = (min(begin, tensor.offset), max(end, tensor.offset + tensor.n_bytes))
                else:
                    copied_bytes += pad(tensor.n_bytes, ALIGNMENT)
        if self._tied is not None:
            if homes[-1] != HOST:
                held[homes[-1]] += self._tied.device_bytes
            elif len(self._tied.host_buffers) > 1:
                copied_bytes += pad(self._embedding_bytes(), ALIGNMENT)
        held[HOST] = copied_bytes + sum(end - begin for begin, end in mapped.values())
        return held

    def _embedding_bytes(self) -> int:
        return next(tensor.n_bytes for tensor in self._tensors if tensor.home is self._tied)


def _tensors(shape: ModelShape, anatomy: Anatomy) -> tuple[_Tensor, ...]:
    """Tensors lie one behind the other in each file, in the order of its header (ggml/src/gguf.cpp checks it)."""
    file_alignment = shape.metadata.get("general.alignment", ALIGNMENT)
    ends: dict[int, int] = {}
    tensors = []
    for tensor in shape.tensors:
        offset = ends.get(tensor.file, 0)
        ends[tensor.file] = offset + pad(tensor.n_bytes, file_alignment)
        home = anatomy.tensors.get(tensor.name)
        if home is None:
            continue
        stem = tensor.name.rpartition(".")[0]
        block = _BLOCK.match(tensor.name)
        layer = int(block[1]) if block else -1 if stem in _INPUT_NAMES else shape.n_layer
        tensors.append(
            _Tensor(
                layer=layer,
                is_expert=_EXPERTS.search(tensor.name) is not None,
                is_shared=stem in _SHARED_NAMES,
                home=home,
                n_bytes=tensor.n_bytes,
                file=tensor.file,
                offset=offset,
            )
        )
    return tuple(tensors)
