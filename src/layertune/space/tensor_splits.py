"""The ways to split layers over several devices."""

from collections.abc import Sequence
from math import gcd

from layertune.config import dimension_values
from layertune.settings import TensorSplit, format_tensor_split
from layertune.units import MIB


def tensor_splits(written: TensorSplit | list[TensorSplit] | None, capacities: Sequence[int]) -> tuple[str, ...]:
    """Return the splits to search in llama.cpp's form, such as `"3,1"`; none for a single device.

    If the config names no splits, there is one in proportion to the capacities, as llama.cpp splits over empty devices.
    For each device there is one with all layers on it, so that two models can have a device each.

    Args:
        written: the splits that the config names.
        capacities: the usable bytes of each device.
    """
    n_devices = len(capacities)
    if n_devices < 2:
        return ()
    if written is not None:
        return tuple(dict.fromkeys(map(format_tensor_split, dimension_values(written))))
    sizes_mib = [max(1, round(capacity / MIB)) for capacity in capacities]
    by_size = tuple(size_mib / gcd(*sizes_mib) for size_mib in sizes_mib)
    alone = [tuple(float(device == each) for device in range(n_devices)) for each in range(n_devices)]
    return tuple(map(format_tensor_split, (by_size, *alone)))
