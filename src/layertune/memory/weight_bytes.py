"""Bytes of a model's weights on each device, for any split of its layers (src/llama-model.cpp, load_tensors).

With growing n_gpu_layers the output layer moves to the device first, then the last repeating layer, and so on. The
token embedding stays on the host; if it is also the output layer, the device holds a copy of it. Experts of the first
`n_cpu_moe` layers and other feed-forward tensors of the first `n_cpu_ffn` layers stay on the host, as do all tensors
that `tensor_overrides` name.

A tensor of a block belongs to the block's layer. Other tensors belong to the input, to the output, or to the layer that
src/models/NAME.cpp creates them for: LLM_TENSOR_INFOS in src/llama-arch.cpp has it by name (LLM_TENSOR_NAMES).
"""

import re
from dataclasses import dataclass
from math import prod

from layertune.memory.buffers import GPU, HOST
from layertune.memory.placement import MAPPED, TensorInventory, TensorPlacement, layer_devices
from layertune.models import ModelShape
from layertune.models.ggml_types import ALIGNMENT
from layertune.settings import KEPT_ON_HOST, Placement
from layertune.tensor_overrides import patterns
from layertune.units import pad

# LLM_TENSOR_LAYER_INPUT: always on the host.
_INPUT_NAMES = frozenset({"token_embd", "position_embd", "token_types", "per_layer_token_embd"})
# LLM_TENSOR_LAYER_REPEATING, created by src/models/NAME.cpp for layer 0. Names in neither set are LAYER_OUTPUT.
_FIRST_LAYER_NAMES = frozenset({
    "token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm", "hrm.z_l_init", "conv1d", "nextn.pre_projection",
})  # fmt: skip
# LLM_TENSOR_OUTPUT_NORM_LFM2 has the same name as the input norm of other architectures.
_OUTPUT_NAMES_OF = {"lfm2": "token_embd_norm", "lfm2moe": "token_embd_norm"}
# Created for every layer, and shared by all layers in the same memory.
_SHARED_NAMES = frozenset({"rope_freqs", "rope_factors_long", "rope_factors_short"})
# t5: enc.blk, dec.blk; wavtokenizer-dec: posnet, convnext.
_BLOCK = re.compile(r"(?:(?:enc\.|dec\.)?blk|posnet|convnext)\.(\d+)\.")
_KEPT_ON_HOST = {name: re.compile(rf"blk\.\d+{pattern}") for name, pattern in KEPT_ON_HOST.items()}
_EXPERTS = "n_cpu_moe"
_SUFFIX = re.compile(r"\.(weight|bias|scale|input_scale)$")


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor of the file. `layer` is -1 for the input, 0 to n_layer - 1 for the repeating layers, n_layer for the
    output. `kept_by` is the setting that may keep it on the host, None if none can."""

    name: str
    layer: int
    kept_by: str | None
    is_shared: bool
    placement: TensorPlacement
    n_bytes: int
    n_values: int
    file: int
    offset: int

    def is_kept(self, placement: Placement) -> bool:
        if self.kept_by is not None and self.layer < getattr(placement, self.kept_by):
            return True
        return any(re.search(pattern, self.name) for pattern in patterns(placement.tensor_overrides))


@dataclass(frozen=True, slots=True)
class WeightsUsed:
    """The weights on one device that a forward pass uses; of experts, the share that one token is routed to.

    Attributes:
        n_bytes: Of the repeating layers; each pass reads them once.
        n_values: How many numbers these are; for each token, each takes one multiplication and one addition.
        output_bytes: Of the output layer, which only the last token of a prompt and each generated token need.
        output_values: How many numbers these are.
    """

    n_bytes: float = 0.0
    n_values: float = 0.0
    output_bytes: float = 0.0
    output_values: float = 0.0


class Weights:
    """The weights of one model, for any split of its layers."""

    def __init__(self, shape: ModelShape, inventory: TensorInventory) -> None:
        self._n_layer = shape.n_layer
        self._alignment_bytes = inventory.alignment_bytes
        self._tensors = _tensors(shape, inventory)
        self._tied = next((tensor for tensor in self._tensors if tensor.placement.is_duplicated), None)
        self._expert_share = _expert_share(shape)
        self._splits: dict[Placement, dict[str, int]] = {}

    def split(self, placement: Placement) -> dict[str, int]:
        """Return the bytes on the host, on the first device, and on each further device that has a layer. On the host,
        repacked copies count in addition to the mapped file."""
        if placement not in self._splits:
            self._splits[placement] = self._split(placement)
        return dict(self._splits[placement])

    def used(self, placement: Placement) -> dict[str, WeightsUsed]:
        """Return what a forward pass uses on the host and on each device that has a layer.

        The input embedding does not count, since a token reads one row of it.
        """
        devices = layer_devices(self._n_layer, placement.n_gpu_layers, placement.tensor_split)
        sums = {device: [0.0, 0.0, 0.0, 0.0] for device in (HOST, *devices)}
        for tensor in self._tensors:
            is_output = tensor.layer == self._n_layer or tensor is self._tied
            if (tensor.layer < 0 and not is_output) or tensor.is_shared:
                continue
            device = HOST if tensor.is_kept(placement) else devices[self._n_layer if is_output else tensor.layer]
            share = self._expert_share if tensor.kept_by == _EXPERTS else 1.0
            sums[device][2 * is_output] += share * tensor.n_bytes
            sums[device][2 * is_output + 1] += share * tensor.n_values
        return {device: WeightsUsed(*each) for device, each in sums.items()}

    def _split(self, placement: Placement) -> dict[str, int]:
        devices = layer_devices(self._n_layer, placement.n_gpu_layers, placement.tensor_split)
        held = dict.fromkeys((GPU, HOST, *devices), 0)
        copied_bytes = 0
        mapped: dict[tuple[int, bool], tuple[int, int]] = {}  # by file; lazily read tensors have their own mapping
        for tensor in self._tensors:
            where = {devices[tensor.layer] if tensor.layer >= 0 else HOST}
            if tensor.is_kept(placement):
                where = {HOST}
            elif tensor.is_shared:
                where = set(devices[:-1])  # wherever there is a repeating layer
            for device in where - {HOST}:
                held[device] += tensor.placement.device_bytes
            if HOST in where:
                if tensor.placement.host_buffers[0] == MAPPED:
                    mapping = tensor.file, tensor.placement.is_lazy
                    begin, end = mapped.get(mapping, (tensor.offset, 0))
                    mapped[mapping] = (min(begin, tensor.offset), max(end, tensor.offset + tensor.n_bytes))
                else:
                    copied_bytes += pad(tensor.n_bytes, ALIGNMENT)
        if self._tied is not None:
            if devices[-1] != HOST and not self._tied.is_kept(placement):
                held[devices[-1]] += self._tied.placement.device_bytes
            elif len(self._tied.placement.host_buffers) > 1:
                copied_bytes += pad(self._tied.n_bytes, ALIGNMENT)
        held[HOST] = copied_bytes + sum(end - begin for begin, end in mapped.values())
        return held


def _tensors(shape: ModelShape, inventory: TensorInventory) -> tuple[_Tensor, ...]:
    """Return the tensors that llama.cpp loads. Each file has its tensors one after the other, in the header's order
    (ggml/src/gguf.cpp checks it)."""
    file_alignment = shape.metadata.get("general.alignment", ALIGNMENT)
    ends: dict[int, int] = {}
    tensors = []
    for tensor in shape.tensors:
        offset = ends.get(tensor.file, 0)
        ends[tensor.file] = offset + pad(tensor.n_bytes, file_alignment)
        placement = inventory.tensors.get(tensor.name)
        if placement is None:
            continue
        tensors.append(
            _Tensor(
                name=tensor.name,
                layer=_layer(shape, tensor.name),
                kept_by=next((name for name, kept in _KEPT_ON_HOST.items() if kept.search(tensor.name)), None),
                is_shared=_SUFFIX.sub("", tensor.name) in _SHARED_NAMES,
                placement=placement,
                n_bytes=tensor.n_bytes,
                n_values=prod(tensor.shape),
                file=tensor.file,
                offset=offset,
            )
        )
    return tuple(tensors)


def _expert_share(shape: ModelShape) -> float:
    """Return the share of the experts that a token is routed to; 1 where the header does not have it."""
    n_experts, n_used = shape.number("expert_count"), shape.number("expert_used_count")
    if isinstance(n_experts, int) and isinstance(n_used, int) and 0 < n_used < n_experts:
        return n_used / n_experts
    return 1.0


def _layer(shape: ModelShape, name: str) -> int:
    """Return the layer that a tensor belongs to, numbered as in `_Tensor`."""
    if block := _BLOCK.match(name):
        return int(block[1])
    stem = _SUFFIX.sub("", name)
    if stem in _INPUT_NAMES:
        return -1
    if stem in _FIRST_LAYER_NAMES and stem != _OUTPUT_NAMES_OF.get(shape.architecture):
        return 0
    return shape.n_layer
