"""Watches a card through NVML: other programs' share, the clock, reasons for a low clock, and the power limit."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pynvml

from layertune.devices.host_conditions import Finding
from layertune.vram.gpu_conditions import GpuSample, Slowdown, judge, judge_load_before
from layertune.vram.nvml import REFUSALS
from layertune.vram.ticker import Ticker

T = TypeVar("T")

# The driver averages a process's use over 1/6 s to 1 s (nvml.h, nvmlUtilization_st), so sampling more
# often would return the same value twice.
INTERVAL_S = 0.5

_ROOT_PID_NAMESPACE = 0xEFFFFFFC  # linux/proc_ns.h: PROC_PID_INIT_INO

_SLOWDOWNS: dict[int, Slowdown] = {
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hardware heat",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power brake",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "heat",
    pynvml.nvmlClocksEventReasonSwPowerCap: "power limit",
}

_USE, _LOAD, _REASONS, _CLOCK, _MAX_CLOCK, _LIMIT = "use", "load", "reasons", "clock", "max clock", "limit"
_NOT_REPORTED = {
    _USE: "other programs' use of the GPU is not reported ({}): only its load before the first trial is checked",
    _LOAD: "the GPU's load is not reported ({}): whether it was idle before the first trial is not known",
    _REASONS: "reasons for a low GPU clock are not reported ({}): a slowdown for heat is not detected",
    _CLOCK: "the GPU's clock is not reported ({}): findings do not include it",
    _MAX_CLOCK: "the GPU's highest clock is not reported ({}): findings do not include it",
    _LIMIT: "the GPU's power limit is not reported ({}): findings do not include it or its changes",
}


def has_host_pids() -> bool:
    """Return whether this process has the same id in the driver's lists as here.

    In a container with its own process ids the driver may use the host's ids (NVIDIA/nvidia-docker issue 1483).
    """
    if sys.platform != "linux":
        return True
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _ROOT_PID_NAMESPACE
    except OSError:
        return False


class NvmlWatch:
    """A `GpuWatch` over NVML that samples twice a second in a thread.

    The driver's list of programs that use the GPU is trusted only if it contains this process; otherwise it may be
    another container's. Without the list, the GPU's load before this process's work is judged, so create the watch
    before that work.
    """

    def __init__(self, card: Any, *, host_pids: bool, interval_s: float = INTERVAL_S) -> None:
        """Create the watch.

        Args:
            card: NVML's handle of the card (`open_card`).
            host_pids: The result of `has_host_pids`.
            interval_s: Seconds between samples.
        """
        self._card = card
        self._host_pids = host_pids
        self._ticker = Ticker(self._sample, interval_s, "gpu-watch")
        self._pid = os.getpid()
        self._own_use_seen = False
        self._last_us = 0
        self._refused: dict[str, str] = {}
        self._failure = ""
        self._n_failed = 0
        self._samples: list[GpuSample] = []
        self._max_clock_mhz = self._query(_MAX_CLOCK, lambda: _sm_clock(pynvml.nvmlDeviceGetMaxClockInfo, card))
        self._load_before = self._query(_LOAD, lambda: int(pynvml.nvmlDeviceGetUtilizationRates(card).gpu))

    def start(self) -> None:
        self._ticker.stop()
        self._others_percent()  # skips the use from before now, which the driver still lists
        self._samples, self._n_failed, self._own_use_seen = [], 0, False
        self._ticker.start()

    def stop(self) -> list[Finding]:
        self._ticker.stop()
        self._sample()
        samples, refused = self._samples, dict(self._refused)
        if not self._own_use_seen:
            refused.setdefault(_USE, "this process is not in the driver's list")
            if not self._host_pids:
                samples = [replace(sample, others_percent=None) for sample in samples]
        found = judge(samples, self._max_clock_mhz)
        if _USE in refused:
            found += judge_load_before(self._load_before)
        else:
            refused.pop(_LOAD, None)  # it is not needed
        self._load_before = None  # judged once: later trials are not affected
        found += [Finding(_NOT_REPORTED[query].format(why), disturbs=False) for query, why in refused.items()]
        if self._n_failed:
            text = f"NVML did not answer in {self._n_failed} of {len(samples)} readings ({self._failure})"
            found.append(Finding(text, disturbs=False))
        return found

    def _sample(self) -> None:
        n_failed = self._n_failed
        sample = GpuSample(
            others_percent=self._others_percent(),
            clock_mhz=self._query(_CLOCK, lambda: _sm_clock(pynvml.nvmlDeviceGetClockInfo, self._card)),
            slowdowns=self._query(_REASONS, lambda: _slowdowns(self._card)),
            power_limit_w=self._query(_LIMIT, lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(self._card) / 1000),
        )
        self._n_failed = min(self._n_failed, n_failed + 1)  # counts samples, not queries
        self._samples.append(sample)

    def _others_percent(self) -> int | None:
        use = self._query(_USE, lambda: _use(self._card, self._last_us))
        if use is None:
            return None
        self._last_us = max([self._last_us, *(each.timeStamp for each in use)])
        self._own_use_seen = self._own_use_seen or any(each.pid == self._pid for each in use)
        return min(100, sum(int(each.smUtil) for each in use if each.pid != self._pid))

    def _query(self, query: str, answer: Callable[[], T]) -> T | None:
        """Return the driver's answer, or None. A query that the driver does not support is not repeated."""
        if query in self._refused:
            return None
        try:
            return answer()
        except REFUSALS as error:
            self._refused[query] = str(error)
        except pynvml.NVMLError as error:
            self._n_failed += 1
            self._failure = str(error)
        return None


def _sm_clock(ask: Callable[[Any, int], Any], card: Any) -> int:
    return int(ask(card, pynvml.NVML_CLOCK_SM))  # MHz


def _slowdowns(card: Any) -> frozenset[Slowdown]:
    try:
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(card)
    except pynvml.NVMLError_FunctionNotFound:  # an older driver has only the older name
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)
    found = {kind for bit, kind in _SLOWDOWNS.items() if reasons & bit}
    # The general bit of the hardware is also set when it reports a reason.
    if reasons & pynvml.nvmlClocksEventReasonHwSlowdown and not found & {"hardware heat", "power brake"}:
        found.add("hardware")
    return frozenset(found)


def _use(card: Any, since_us: int) -> list[Any]:
    """Return each process's use of the GPU after `since_us`, in microseconds of the driver's clock.

    Older entries, and entries of more than 100 %, belong to processes that have ended and are dropped (Syllo/nvtop
    issue 110, NVIDIA/DCGM issue 83).
    """
    try:
        use = pynvml.nvmlDeviceGetProcessUtilization(card, since_us)
    except pynvml.NVMLError as error:
        # pynvml raises NVML_SUCCESS if there are no entries.
        if error.value in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND):
            return []
        raise
    return [each for each in use if each.timeStamp > since_us and each.smUtil <= 100]
