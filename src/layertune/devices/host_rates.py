"""Measures how fast this host reads memory and multiplies matrices, for several numbers of threads, in half a second.

It runs in a child process (`python -m layertune.devices.host_rates`), since numpy's matrix library reads its number of
threads only when it is loaded. Each thread multiplies matrices of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from time import perf_counter, thread_time
from typing import Any

from layertune.devices.host import n_usable_cores
from layertune.units import MIB

_SIZE_BYTES = 256 * MIB  # larger than the cache of most processors, and written in a tenth of a second
_MAX_SHARE_OF_FREE = 8
_N_ROWS = 384  # three matrices of 32-bit numbers: 1.7 MiB, about a core's own cache
_N_PRODUCTS = 4
_MOST_COUNTS = 4  # the rates of other numbers of threads are interpolated
_MOST_ROUNDS = 5
_ENOUGH_S = 0.4
_TIMEOUT_S = 20.0

# A thread's own CPU time, without the time when other programs use its core. On Windows it is too coarse.
_CLOCK = perf_counter if sys.platform == "win32" else thread_time
_LEAST_S = 1e-6

_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class HostRates:
    """How fast the host is, by the number of threads.

    Attributes:
        n_threads: The measured numbers of threads, ascending.
        bytes_per_s: How fast each number of threads reads memory.
        flops_per_s: How many floating-point operations per second they do in products of 32-bit matrices.
    """

    n_threads: tuple[int, ...]
    bytes_per_s: tuple[float, ...]
    flops_per_s: tuple[float, ...]

    def reads(self, n_threads: int) -> float:
        """Return the bytes per second of `n_threads`; above the largest measured number the rate stays the same."""
        return _between(n_threads, self.n_threads, self.bytes_per_s)

    def computes(self, n_threads: int) -> float:
        """Return the operations per second of `n_threads`; see `reads`."""
        return _between(n_threads, self.n_threads, self.flops_per_s)


def measure_host(n_threads: Sequence[int]) -> HostRates | None:
    """Measure the host with these numbers of threads, at most one per core; None if that fails."""
    counts = _some(sorted({min(each, n_usable_cores()) for each in n_threads}))
    command = [sys.executable, "-m", "layertune.devices.host_rates", *map(str, counts)]
    try:
        answer = subprocess.run(
            command, capture_output=True, timeout=_TIMEOUT_S, check=False, env=os.environ | _ONE_THREAD
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_rates(answer.stdout) if answer.returncode == 0 else None


def parse_rates(answer: bytes) -> HostRates | None:
    """Return the rates from the child process's output, None if it could not measure."""
    counts, reads, computes = json.loads(answer)
    return HostRates(tuple(counts), tuple(reads), tuple(computes)) if reads else None


def main(counts: Sequence[int]) -> None:
    """Write the numbers of threads and both rates of each to standard output, as JSON."""
    import numpy as np
    import psutil

    size_bytes = min(_SIZE_BYTES, psutil.virtual_memory().available // _MAX_SHARE_OF_FREE)
    buffer = np.ones(size_bytes // 4, dtype=np.int32)  # not zeros, which would share one page
    matrix = np.ones((_N_ROWS, _N_ROWS), dtype=np.float32)
    reads: dict[int, list[float]] = {n: [] for n in counts}
    computes: dict[int, list[float]] = {n: [] for n in counts}

    def read(part: Any) -> float:
        """Return bytes per second; the maximum is numpy's fastest reduction (devices/bandwidth.py)."""
        begun_s = _CLOCK()
        part.max()
        return float(part.nbytes / max(_CLOCK() - begun_s, _LEAST_S))

    def multiply(_thread: int) -> float:
        begun_s = _CLOCK()
        for _ in range(_N_PRODUCTS):
            matrix @ matrix
        return float(_N_PRODUCTS * 2 * _N_ROWS**3 / max(_CLOCK() - begun_s, _LEAST_S))

    with ThreadPoolExecutor(max(counts)) as pool:
        list(pool.map(multiply, range(max(counts))))  # unmeasured: starts the threads
        started_s = perf_counter()
        # Alternate between the numbers of threads, so that a disturbance affects all of them.
        for _ in range(_MOST_ROUNDS):
            for n in counts:
                reads[n].append(sum(pool.map(read, np.array_split(buffer, n))))
                computes[n].append(sum(pool.map(multiply, range(n))))
            if perf_counter() - started_s > _ENOUGH_S:
                break
    rates = [[median(each) for each in found.values()] for found in (reads, computes)]
    sys.stdout.write(json.dumps([list(counts), *rates]))


def _some(counts: Sequence[int]) -> list[int]:
    """Return at most _MOST_COUNTS of the numbers, evenly spaced, including the smallest and the largest."""
    if len(counts) <= _MOST_COUNTS:
        return list(counts)
    return [counts[round(place * (len(counts) - 1) / (_MOST_COUNTS - 1))] for place in range(_MOST_COUNTS)]


def _between(n: int, counts: Sequence[int], rates: Sequence[float]) -> float:
    """Return the rate of `n` threads, interpolated linearly between the measured numbers."""
    if n <= counts[0]:
        return rates[0]
    for (low, low_rate), (high, high_rate) in zip(
        zip(counts, rates, strict=True), zip(counts[1:], rates[1:], strict=True), strict=False
    ):
        if n <= high:
            return low_rate + (high_rate - low_rate) * (n - low) / (high - low)
    return rates[-1]


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]])
