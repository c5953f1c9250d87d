"""Measures the memory bandwidth of the host and of a GPU.

Generating a token reads every weight once, so bandwidth bounds its speed. A GPU is measured in a child process (`python
-m layertune.devices.bandwidth`), because a backend loaded here would hold device memory. The GPU measurement has been
run on one GPU so far, an H200. numpy is imported where it is used, since importing it is slow.
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

# Larger than the caches that one process sees: an EPYC 9684X has 1152 MiB, but spread over twelve dies.
_SIZE_BYTES = GIB
_MAX_SHARE_OF_FREE = 8
_N_PASSES = 5

# Larger than a GPU's caches (an RTX 4090 has 72 MiB), and small next to the smallest card's memory.
_DEVICE_SIZE_BYTES = 256 * MIB
_N_COPIES = 5
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class MeasuredBandwidth:
    """A measured bandwidth.

    Attributes:
        samples: Bytes per second of each pass, in order.
        what: A description of one pass.
        n_threads: The number of host threads, None for a GPU.
    """

    samples: tuple[float, ...]
    what: str
    n_threads: int | None = None

    @property
    def bytes_per_s(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    def how(self) -> str:
        """Return a description of the measurement, with the range of the samples."""
        low, high = min(self.samples) / 1e9, max(self.samples) / 1e9
        return f"{self.what}, median of {len(self.samples)} passes, {low:.1f} to {high:.1f} GB/s"


def host_read_bandwidth(size_bytes: int = _SIZE_BYTES, n_passes: int = _N_PASSES) -> MeasuredBandwidth | None:
    """Measure how fast the host reads memory, with one thread per usable core.

    Args:
        size_bytes: The size of the buffer; at most an eighth of the free memory is used.
        n_passes: The number of measured passes. One unmeasured pass comes first.

    Returns:
        None if too little memory is free.
    """
    import numpy as np
    import psutil

    size_bytes = min(size_bytes, psutil.virtual_memory().available // _MAX_SHARE_OF_FREE)
    n_threads = n_usable_cores()
    n_items = size_bytes // (4 * n_threads) * n_threads
    if n_items == 0:
        return None
    buffer = np.ones(n_items, dtype=np.int32)  # not zeros, which would share one page
    parts = np.split(buffer, n_threads)
    samples = []
    with ThreadPoolExecutor(n_threads) as pool:
        # numpy computes the maximum with SIMD instructions and without holding the GIL
        # (numpy/_core/src/umath/loops_minmax.dispatch.c.src). On two cores of a Xeon it was numpy's fastest reduction:
        # 16.6 GB/s, and 6.8 GB/s for a sum.
        list(pool.map(np.max, parts))  # unmeasured: starts the threads
        for _ in range(n_passes):
            started_s = perf_counter()
            list(pool.map(np.max, parts))
            samples.append(buffer.nbytes / (perf_counter() - started_s))
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return MeasuredBandwidth(tuple(samples), f"{format_bytes(buffer.nbytes)} read by {threads}", n_threads)


def device_bandwidth(gpu_index: int) -> MeasuredBandwidth | None:
    """Measure how fast llama.cpp's GPU number `gpu_index` copies its own memory; None if that fails."""
    command = [sys.executable, "-m", "layertune.devices.bandwidth", str(gpu_index)]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_reply(answer.stdout) if answer.returncode == 0 else None


def parse_reply(answer: bytes) -> MeasuredBandwidth | None:
    """Return the bandwidth from the child process's output, None if it could not measure."""
    size_bytes, samples = json.loads(answer)
    if not samples:
        return None
    what = f"{format_bytes(size_bytes)} copied on the device by llama.cpp, bytes read and written"
    return MeasuredBandwidth(tuple(samples), what)


def main(gpu_index: int) -> None:
    """Write the buffer's size and the samples to standard output, as JSON."""
    from layertune.engine import ggml, library
    from layertune.engine.device_copy import copy_bandwidths

    library.load()
    gpu = [device for device in ggml.devices() if ggml.props(device).is_gpu][gpu_index]
    free_bytes, _total_bytes = ggml.memory(gpu)
    size_bytes = min(_DEVICE_SIZE_BYTES, free_bytes // _MAX_SHARE_OF_FREE)
    sys.stdout.write(json.dumps([size_bytes, copy_bandwidths(gpu, size_bytes, _N_COPIES)]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
