"""Reads buffer sizes from llama.cpp's log. The lines look like this:

load_tensors:   CPU_Mapped model buffer size =    85.82 MiB
llama_kv_cache: RPC0[127.0.0.1:40001] KV buffer size =    22.50 MiB
llama_dsv4_comp_state: CUDA0 DSV4 csa state buffer size =     1.00 MiB
sched_reserve:  CUDA0 compute buffer size =    84.01 MiB
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from layertune.memory.buffers import HOST, BufferBytes, device_name
from layertune.settings import FlashAttention
from layertune.units import MIB

_LINE = re.compile(
    r"(?P<buffer>\S+)\s+(?:DSV4 \S+ )?(?P<kind>model|KV|RS|state|compute|output) buffer size"
    r"\s*=\s*(?P<mib>\d+\.\d+) MiB"
)
_FLASH_ATTENTION = re.compile(r"Flash Attention (?:not supported, set to )?(?P<value>enabled|disabled)")
_FIELDS = {
    "model": "weights_bytes",
    "KV": "kv_bytes",
    "RS": "kv_bytes",  # a recurrent model has a state instead of a cache
    "state": "kv_bytes",
    "compute": "compute_bytes",
    "output": "output_bytes",
}


def read_buffers(lines: Iterable[str], buffer_names: tuple[str, ...]) -> dict[str, BufferBytes]:
    """Return the buffer sizes in a log, by device.

    A compute buffer may be reserved again later in the same log, so its last line counts. Sizes of the other kinds are
    added up: a sliding-window model logs one KV cache for each kind of layer.

    Args:
        lines: Lines of llama.cpp's log, in order.
        buffer_names: How the log names the devices' buffers: `"gpu0"` is the first of them, `"gpu1"` the second.
            Every other buffer belongs to `"host"`.
    """
    buffers: dict[str, BufferBytes] = {}
    compute: dict[str, int] = {}
    for line in lines:
        match = _LINE.search(line)
        if match is None:
            continue
        device = _device(match["buffer"], buffer_names)
        size_bytes = round(float(match["mib"]) * MIB)
        if match["kind"] == "compute":
            compute[match["buffer"]] = size_bytes
            continue
        name = _FIELDS[match["kind"]]
        held = buffers.get(device, BufferBytes())
        buffers[device] = replace(held, **{name: getattr(held, name) + size_bytes})
    for buffer, size_bytes in compute.items():
        device = _device(buffer, buffer_names)
        held = buffers.get(device, BufferBytes())
        buffers[device] = replace(held, compute_bytes=held.compute_bytes + size_bytes)
    return buffers


def read_flash_attention(lines: Iterable[str], asked: FlashAttention) -> bool | None:
    """Return whether a context uses flash attention.

    Args:
        lines: The log of the context's creation. For `auto`, llama.cpp logs its choice there.
        asked: The setting that the context was created with.

    Returns:
        None if the setting is `auto` and the log does not contain the choice.
    """
    if asked != "auto":
        return asked == "on"
    found = [match["value"] == "enabled" for line in lines if (match := _FLASH_ATTENTION.search(line))]
    return found[-1] if found else None


def _device(buffer: str, buffer_names: tuple[str, ...]) -> str:
    """Return the device of a buffer. `CPU`, `CPU_Mapped`, `CPU_REPACK` and the pinned `CUDA_Host` are on the host."""
    return device_name(buffer_names.index(buffer)) if buffer in buffer_names else HOST
