"""How fast this machine's memory is read. numpy is imported where it is used: it is slow to.

Generating a token reads every weight once, so this bounds its speed for the layers that stay on the host.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from layertune.devices.host import n_usable_cores
from layertune.units import GIB, MIB, format_bytes

# Larger than any processor's caches: an EPYC 9684X has 1152 MiB, over twelve dies of which a process rarely sees all.
_SIZE_BYTES = GIB
_MAX_SHARE_OF_FREE = 8
_N_PASSES = 5

# Larger than a GPU's caches (an RTX 4090 has 72 MiB), and small next to the smallest card's memory.
_DEVICE_SIZE_BYTES = 256 * MIB
_N_COPIES = 5
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class MeasuredBandwidth:
    """`samples` in bytes per second, in order; `what` was done in each, `n_threads` of this machine's at once."""

    samples: tuple[float, ...]
    what: str
    n_threads: int | None = None

    @property
    def bytes_per_s(self) -> float:
        return median(self.samples)

    def how(self) -> str:
        """Return how it was measured and how far the samples lie apart, for people."""
        low, high = min(self.samples) / 1e9, max(self.samples) / 1e9
        return f"{self.what}, median of {len(self.samples)} passes, {low:.1f} to {high:.1f} GB/s"


def host_read_bandwidth(size_bytes: int = _SIZE_BYTES, n_passes: int = _N_PASSES) -> MeasuredBandwidth | None:
    """Read a buffer again and again with a thread on each usable core; None where too little memory is free for it."""
    import numpy as np
    import psutil

    size_bytes = min(size_bytes, psutil.virtual_memory().available // _MAX_SHARE_OF_FREE)
    n_threads = n_usable_cores()
    n_items = size_bytes // (4 * n_threads) * n_threads
    if n_items == 0:
        return None
    buffer = np.ones(n_items, dtype=np.int32)  # not zeros, which would all be one page
    parts = np.split(buffer, n_threads)
    samples = []
    with ThreadPoolExecutor(n_threads) as pool:
        # The largest value: numpy finds it with SIMD instructions of its own and without the interpreter's lock
        # (numpy/_core/src/umath/loops_minmax.dispatch.c.src). Of its reductions it was the fastest on two cores of a
        # Xeon, 16.6 GB/s where a sum had 6.8.
        list(pool.map(np.max, parts))  # not counted: the threads start
        for _ in range(n_passes):
            started_s = perf_counter()
            list(pool.map(np.max, parts))
            samples.append(buffer.nbytes / (perf_counter() - started_s))
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return MeasuredBandwidth(tuple(samples), f"{format_bytes(buffer.nbytes)} read by {threads}", n_threads)


def device_bandwidth(gpu_index: int) -> MeasuredBandwidth | None:
    """Return what llama.cpp's GPU of that number copies; None where it cannot be measured."""
    command = [sys.executable, "-m", "layertune.devices.bandwidth", str(gpu_index)]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_reply(answer.stdout) if answer.returncode == 0 else None


def parse_reply(answer: bytes) -> MeasuredBandwidth | None:
    """Return what the child process told."""
    size_bytes, samples = json.loads(answer)
    if not samples:
        return None
    what = f"{format_bytes(size_bytes)} copied on the device by llama.cpp, bytes read and written"
    return MeasuredBandwidth(tuple(samples), what)


def main(gpu_index: int) -> None:
    from layertune.engine import ggml, library
    from layertune.engine.device_copy import copy_bandwidths

    library.load()
    gpu = [device for device in ggml.devices() if ggml.props(device).is_gpu][gpu_index]
    free_bytes, _total_bytes = ggml.memory(gpu)
    size_bytes = min(_DEVICE_SIZE_BYTES, free_bytes // _MAX_SHARE_OF_FREE)
    sys.stdout.write(json.dumps([size_bytes, copy_bandwidths(gpu, size_bytes, _N_COPIES)]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
