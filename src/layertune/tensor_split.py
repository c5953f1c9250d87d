"""How the layers on several devices are divided among them, as llama.cpp does it."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from struct import pack, unpack

from layertune.units import quoted

# The proportions of the offloaded layers on several devices, in their order. Empty for one device.
TensorSplit = tuple[float, ...]

_MOST_PROPORTION = 1e9  # more than any size in KiB, and small enough for exact 32-bit sums of layers


def parse_tensor_split(written: str | Sequence[float]) -> TensorSplit:
    """Return proportions from llama.cpp's form, like `"3,1"`, or from numbers.

    Raises:
        ValueError: they are not proportions; the message says how to write them.
    """
    parts = re.split(r"[,/]", written) if isinstance(written, str) else written
    try:
        proportions = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        proportions = ()
    if not any(proportions) or not all(0 <= each <= _MOST_PROPORTION for each in proportions):
        raise ValueError(f"{quoted(written)} is not a split of layers; write one proportion for each device, like 3,1")
    return proportions


def format_tensor_split(proportions: TensorSplit) -> str:
    """Return proportions in the form of llama-server's --tensor-split."""
    return ",".join(f"{each:.12g}" for each in proportions)


def split_layers(proportions: TensorSplit, n_gpu_layers: int) -> tuple[int, ...]:
    """Return how many of `n_gpu_layers` layers each device gets; the first device gets the first layers.

    It is computed as in llama-model.cpp (load_tensors, get_layer_buft_list), in 32 bits: the cumulative proportions are
    divided by their sum, and a layer goes to the first device whose share ends after it. The result is empty without
    layers or without a second device.
    """
    if n_gpu_layers == 0 or len(proportions) < 2:
        return ()
    sums = list(accumulate(map(_float32, proportions), lambda total, each: _float32(total + each)))
    ends = [_float32(each / sums[-1]) for each in sums]
    devices = [bisect_right(ends, _float32(layer / n_gpu_layers)) for layer in range(n_gpu_layers)]
    return tuple(devices.count(device) for device in range(len(proportions)))


def _float32(value: float) -> float:
    """Round to a C float. For a sum or quotient of two floats, rounding the 64-bit result is exact."""
    rounded: float = unpack("f", pack("f", value))[0]
    return rounded
