"""Projects the memory that llama.cpp would allocate.

Models are loaded with `no_alloc`, and real contexts are created over them. llama.cpp's own --fit works the same way
(common/fit.cpp). The sizes are reported only in the log, so the process that projects must not use llama.cpp for
anything else meanwhile.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from layertune.engine import ggml, library
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.engine.refusal import EngineRefused
from layertune.memory.buffers import HOST
from layertune.memory.placement import EMBEDDING, MAPPED, TensorInventory, TensorPlacement
from layertune.memory.projection import CacheTotal, Projection
from layertune.models import ModelShape
from layertune.models.ggml_types import ALIGNMENT, TENSOR_TYPE_NUMBERS
from layertune.settings import EngineSettings
from layertune.units import MIB, pad

# Words of the debug lines that are read here, for LogCapture.keep_debug.
DEBUG_WORDS = ("buffer type overridden to", ": loading tensor ", ": dev = ")

_LOADING = re.compile(r"create_tensor: loading tensor (?P<name>\S+)")
_UNUSED = re.compile(r"model has unused tensor (?P<name>\S+) \(")
_OVERRIDDEN = re.compile(r"tensor (?P<name>\S+) \(\d+ MiB \S+\) buffer type overridden to (?P<buffer>\S+)")
_CACHE_LAYER = re.compile(r"llama_kv_cache: layer\s+(?P<layer>\d+): dev = ")
_CACHE_KIND = re.compile(r"creating\s+(?P<kind>.*)KV cache")
_CACHE_TOTAL = re.compile(
    r"llama_kv_cache: size = .*K \(\S+\):\s*(?P<k>\d+\.\d+) MiB, V \(\S+\):\s*(?P<v>\d+\.\d+) MiB"
)


def read_inventory(path: Path, shape: ModelShape, devices: Sequence[ggml.DeviceHandle]) -> TensorInventory:
    """Return the size of each tensor on a device, and the host buffer that llama.cpp chooses for it.

    An override keeps every tensor on the host, and llama.cpp's log names the buffer that it chose for each
    (src/llama-model-loader.cpp, create_tensor). Overrides do not apply to a tensor that llama.cpp reads lazily, so the
    log has no line for it. A token embedding that is also the output layer is created twice.

    Args:
        path: The model file or its skeleton.
        shape: The shape of the model file.
        devices: The devices to offload to, none for the CPU alone.

    Raises:
        EngineRefused: llama.cpp does not load the model.
    """
    mark = library.log().mark()
    Model(path, 0, devices, host_tensors=[".*"], no_alloc=True).close()
    n_loads: Counter[str] = Counter()
    buffers: dict[str, set[str]] = {}
    for line in library.log().since(mark):
        if match := _LOADING.search(line):
            n_loads[match["name"]] += 1
        elif match := _UNUSED.search(line):
            n_loads[match["name"]] -= 1
        elif match := _OVERRIDDEN.search(line):
            buffers.setdefault(match["name"], set()).add(_on_mapped_file(match["buffer"]))
    device_buffer = ggml.buffer_type(devices[0]) if devices else None
    alignment_bytes = ggml.alignment(device_buffer) if device_buffer is not None else ALIGNMENT
    tensors = {}
    for tensor in shape.tensors:
        if n_loads[tensor.name] <= 0:
            continue  # llama.cpp does not load it
        size_bytes = tensor.n_bytes
        if device_buffer is not None:
            size_bytes = ggml.tensor_bytes(device_buffer, TENSOR_TYPE_NUMBERS[tensor.type], tensor.shape)
        found = buffers.get(tensor.name, {MAPPED})
        tensors[tensor.name] = TensorPlacement(
            pad(size_bytes, alignment_bytes),
            host_buffers=tuple(sorted(found, key=lambda name: (name != MAPPED, name))),
            is_duplicated=tensor.name == EMBEDDING and n_loads[tensor.name] > 1,
            is_lazy=tensor.name not in buffers,
        )
    return TensorInventory(tensors, alignment_bytes)


def project(
    path: Path, settings: Iterable[EngineSettings], devices: Sequence[ggml.DeviceHandle], n_outputs: int | None = None
) -> Iterator[tuple[EngineSettings, Projection | None]]:
    """Yield each setting with its projection, or with None if llama.cpp refuses it.

    The model is loaded once for consecutive settings of the same placement, so order them by it.

    Args:
        path: The model file or its skeleton.
        settings: The settings to project.
        devices: The devices to offload to, none for the CPU alone.
        n_outputs: As in `Context`.
    """
    for where, run in groupby(settings, key=lambda each: each.placement):
        try:
            model = Model(
                path,
                where.n_gpu_layers,
                devices,
                tensor_split=where.tensor_split,
                host_tensors=where.host_tensors,
                no_alloc=True,
            )
        except EngineRefused:
            yield from ((each, None) for each in run)
            continue
        for each in run:
            yield each, _project(model, each, n_outputs)
        model.close()


def _project(model: Model, settings: EngineSettings, n_outputs: int | None) -> Projection | None:
    mark = library.log().mark()
    try:
        context = Context(model, settings, n_outputs)
    except EngineRefused:
        return None
    context.close()
    lines = library.log().since(mark)
    buffers = context.buffers
    return Projection(
        compute_bytes={device: held.compute_bytes for device, held in buffers.items()},
        output_bytes=buffers[HOST].output_bytes,
        caches=tuple(_caches(lines)),
        state_bytes={device: held.kv_bytes for device, held in buffers.items() if held.kv_bytes},
        flash_attn=context.flash_attn,
    )


def _caches(lines: Iterable[str]) -> Iterator[CacheTotal]:
    layers: list[int] = []
    is_indexer = False
    for line in lines:
        if match := _CACHE_KIND.search(line):
            is_indexer = "indexer" in match["kind"]
        elif match := _CACHE_LAYER.search(line):
            layers.append(int(match["layer"]))
        elif match := _CACHE_TOTAL.search(line):
            k_bytes, v_bytes = (round(float(match[part]) * MIB) for part in ("k", "v"))
            yield CacheTotal(tuple(layers), k_bytes, v_bytes, is_indexer)
            layers = []


def _on_mapped_file(buffer: str) -> str:
    """Return the buffer that a tensor of `buffer` is in when the file is mapped.

    llama.cpp maps the file instead of using plain or pinned host memory (llama-model-loader.cpp, "avoid using a host
    buffer when using mmap"). Other buffers, like `CPU_REPACK`, hold copies.
    """
    return MAPPED if buffer.endswith("_Host") else buffer
