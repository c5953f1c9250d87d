"""Splits over several devices that balance bytes where tensors of the first layers stay on the host.

Those layers take far less of a device than the others, so a split in proportion to the devices' memory leaves the first
device almost empty and overfills the last.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise, product

from layertune.config import StudyConfig, dimension_values
from layertune.config.model_config import ModelSpace
from layertune.models import ModelShape
from layertune.settings import KEPT_ON_HOST, TENSOR_OVERRIDES, Placement, variant
from layertune.space.search_space import tensor_splits
from layertune.tensor_split import TensorSplit, parse_tensor_split

_BLOCK = re.compile(r"blk\.(\d+)\.")
MOST_BALANCED = 3  # splits of a model: of the fewest, the middle and the most layers whose tensors stay on the host


def with_balanced_splits(config: StudyConfig, shapes: dict[str, ModelShape], capacities: Sequence[int]) -> StudyConfig:
    """Return the config with splits for models that keep tensors on the host; splits that it has are kept.

    Args:
        config: as the user wrote it.
        shapes: each model's shape, by `variant`.
        capacities: the usable bytes of each device.
    """
    if len(capacities) < 2:
        return config
    models = dict(config.models)
    for name, model in config.models.items():
        shape = shapes[variant(name, next(iter(model.paths)))]
        balanced = _balanced(model.space, shape, capacities)
        if model.space.tensor_split is None and balanced:
            others = map(parse_tensor_split, tensor_splits(None, capacities))
            space = model.space.model_copy(update={"tensor_split": list(dict.fromkeys([*balanced, *others]))})
            models[name] = model.model_copy(update={"space": space})
    return config.model_copy(update={"models": models})


def _balanced(space: ModelSpace, shape: ModelShape, capacities: Sequence[int]) -> list[TensorSplit]:
    fields = (*KEPT_ON_HOST, TENSOR_OVERRIDES)
    kept = [dimension_values(getattr(space, field), shape.n_layer) for field in fields]
    placements = sorted({Placement(shape.n_layer + 1, moe, ffn, (), named) for moe, ffn, named in product(*kept)})
    found = [each for each in placements if each.host_tensors]
    some = found if len(found) <= MOST_BALANCED else [found[0], found[len(found) // 2], found[-1]]
    return list(dict.fromkeys(balanced_split(device_layer_bytes(shape, each), capacities) for each in some))


def device_layer_bytes(shape: ModelShape, placement: Placement) -> list[int]:
    """Return the weights of each layer that are on a device if all layers are, the output layer last."""
    on_host = [re.compile(pattern) for pattern in placement.host_tensors]
    n_bytes = [0] * (shape.n_layer + 1)
    output = "token_embd.weight" if shape.tied_embeddings else "output.weight"
    for tensor in shape.tensors:
        block = _BLOCK.match(tensor.name)
        if block is not None and not any(each.search(tensor.name) for each in on_host):
            n_bytes[min(int(block[1]), shape.n_layer - 1)] += tensor.n_bytes
        elif tensor.name == output:
            n_bytes[-1] += tensor.n_bytes
    return n_bytes


def balanced_split(layer_bytes: Sequence[int], capacities: Sequence[int]) -> TensorSplit:
    """Return how many of the layers, in their order, each device gets so that the fullest device is least full.

    Args:
        layer_bytes: the bytes of each layer, the output layer last.
        capacities: the usable bytes of each device.
    """
    sums = [0, *accumulate(layer_bytes)]
    # By the number of layers so far: how full the fullest device is, and the ends of all devices' layers.
    best: list[tuple[float, tuple[int, ...]]] = [(total / capacities[0], (end,)) for end, total in enumerate(sums)]
    for capacity in capacities[1:]:
        best = [min(_continued(best[: end + 1], sums, end, capacity)) for end in range(len(sums))]
    ends = (0, *best[-1][1])
    return tuple(float(end - start) for start, end in pairwise(ends))


def _continued(
    before: Sequence[tuple[float, tuple[int, ...]]], sums: Sequence[int], end: int, capacity: int
) -> Iterable[tuple[float, tuple[int, ...]]]:
    """Yield the ways to put the layers from each start up to `end` on the next device."""
    for start, (fullest, ends) in enumerate(before):
        yield max(fullest, (sums[end] - sums[start]) / capacity), (*ends, end)
