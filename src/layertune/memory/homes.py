"""Which device each layer of a model lies on (src/llama-model.cpp, load_tensors)."""

from layertune.memory.buffers import HOST, device_name
from layertune.settings import TensorSplit, split_layers


def layer_homes(n_layer: int, n_gpu_layers: int, tensor_split: TensorSplit) -> tuple[str, ...]:
    """Return the device of every repeating layer and, last, of the output layer: `n_layer` + 1 names.

    The first layers stay on the host; those after them fill the devices one after the other.
    """
    n_gpu_layers = min(n_gpu_layers, n_layer + 1)
    homes = [HOST] * (n_layer + 1 - n_gpu_layers)
    for index, n_layers in enumerate(split_layers(tensor_split, n_gpu_layers) or (n_gpu_layers,)):
        homes += [device_name(index)] * n_layers
    return tuple(homes)
