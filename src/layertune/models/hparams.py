"""The ranges that llama.cpp accepts for the numbers of a header (src/llama-hparams.h, load_hparams in
src/llama-model.cpp). llama.cpp refuses other numbers or aborts, and a memory plan made of them would be wrong."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from layertune.errors import ModelFileError

MAX_LAYERS = 512  # llama-hparams.h: LLAMA_MAX_LAYERS
_MAX_EXPERTS = 1024  # llama-hparams.h: LLAMA_MAX_EXPERTS
_MAX_UINT32 = 2**32 - 1

# The numbers that a memory plan is computed from, with the least and the most of each.
_NUMBERS: dict[str, tuple[int, int]] = {
    "block_count": (1, MAX_LAYERS),
    "nextn_predict_layers": (0, MAX_LAYERS),
    "num_loops": (1, MAX_LAYERS),
    "expert_count": (0, _MAX_EXPERTS),
    "embedding_length": (1, _MAX_UINT32),
    "context_length": (1, _MAX_UINT32),
    "full_attention_interval": (0, _MAX_UINT32),
    "shortconv.l_cache": (0, _MAX_UINT32),
    "token_shift_count": (0, _MAX_UINT32),
    "wkv.head_size": (0, _MAX_UINT32),
} | {
    f"{group}.{key}": (0, _MAX_UINT32)
    for group, keys in {
        "attention": ("key_length", "key_length_mla", "key_length_swa", "sliding_window", "value_length",
                      "value_length_mla", "value_length_swa"),
        "ssm": ("conv_kernel", "group_count", "inner_size", "state_size"),
    }.items()
    for key in keys
}  # fmt: skip
# Numbers that may also be a list with one for each layer.
_PER_LAYER = frozenset({
    "attention.head_count", "attention.head_count_kv", "attention.recurrent_layers", "attention.sliding_window_pattern",
})  # fmt: skip

# The layer in a tensor's name (src/llama-arch.cpp: LLM_TENSOR_NAMES).
_BLOCK = re.compile(r"(?:(?:enc\.|dec\.)?blk|posnet|convnext)\.(\d+)\.")


def check_numbers(path: Path, architecture: str, metadata: Mapping[str, Any]) -> None:
    """Check the type and the range of every number that a memory plan is computed from.

    Raises:
        ModelFileError: a number is wrong; the message has the key, the value and the range.
    """
    for key, (least, most) in _NUMBERS.items():
        name = f"{architecture}.{key}"
        if name in metadata:
            _check(path, name, metadata[name], least, most)
    n_trunk = metadata[f"{architecture}.block_count"] - metadata.get(f"{architecture}.nextn_predict_layers", 0)
    if n_trunk < 0:
        raise _refused(path, f"{architecture}.nextn_predict_layers is more than block_count")
    if metadata[f"{architecture}.block_count"] * metadata.get(f"{architecture}.num_loops", 1) > MAX_LAYERS:
        raise _refused(path, f"{architecture}.block_count times num_loops is more than llama.cpp's {MAX_LAYERS} layers")
    for key in _PER_LAYER:
        name = f"{architecture}.{key}"
        value = metadata.get(name)
        if not isinstance(value, tuple):
            if name in metadata:
                _check(path, name, int(value) if isinstance(value, bool) else value, 0, _MAX_UINT32)
            continue
        if len(value) < n_trunk:
            raise _refused(path, f"{name} has {len(value)} numbers for {n_trunk} layers")
        for each in value:
            _check(path, name, int(each) if isinstance(each, bool) else each, 0, _MAX_UINT32)


def check_layers(path: Path, names: Iterable[str], n_layer: int) -> None:
    """Check that every tensor belongs to a layer that the model has: llama.cpp does not load other files.

    Raises:
        ModelFileError: a tensor belongs to no layer; the message names the first one.
    """
    for name in names:
        block = _BLOCK.match(name)
        if block is not None and int(block[1]) >= n_layer:
            raise _refused(path, f"it has a tensor {name!r} and {n_layer} layers")


def _check(path: Path, name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int:
        raise _refused(path, f"{name} is no whole number")
    if not least <= value <= most:
        raise _refused(path, f"{name} is {value}, and llama.cpp reads {least} to {most}")


def _refused(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}", remedy="download it again, or get a newer conversion of the model")
