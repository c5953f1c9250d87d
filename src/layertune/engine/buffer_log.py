"""llama.cpp's own buffer lines, read from its log.

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
    "RS": "kv_bytes",  # the recurrent state takes the cache's place
    "state": "kv_bytes",
    "compute": "compute_bytes",
    "output": "output_bytes",
}


def read_buffers(lines: Iterable[str], buffer_names: tuple[str, ...]) -> dict[str, BufferBytes]:
    """Return the buffers that `lines` tell, by device: `"gpu0"`, `"gpu1"` … in the order of `buffer_names`, `"host"`.

    A compute buffer may be reserved again later in the same log; the last line counts. Other kinds add up (a
    sliding-window model logs one KV cache for each kind of layer).
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
    """Return whether the context uses flash attention; for `auto` llama.cpp logs what it chose, else None."""
    if asked != "auto":
        return asked == "on"
    found = [match["value"] == "enabled" for line in lines if (match := _FLASH_ATTENTION.search(line))]
    return found[-1] if found else None


def _device(buffer: str, buffer_names: tuple[str, ...]) -> str:
    """Whatever is no device's own is the host: `CPU`, `CPU_Mapped`, `CPU_REPACK`, the pinned `CUDA_Host`."""
    return device_name(buffer_names.index(buffer)) if buffer in buffer_names else HOST
