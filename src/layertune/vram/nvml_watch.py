"""What NVML tells of a card's conditions: other programs' share, clocks and why they are low, the power limit."""

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

# The driver averages a process's use over a sixth of a second to a second (nvml.h, nvmlUtilization_st): more looks
# would see the same figure twice.
INTERVAL_S = 0.5

_ROOT_PID_NAMESPACE = 0xEFFFFFFC  # linux/proc_ns.h: PROC_PID_INIT_INO

_SLOWDOWNS: dict[int, Slowdown] = {
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hardware heat",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power brake",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "heat",
    pynvml.nvmlClocksEventReasonSwPowerCap: "power limit",
}

_USE, _LOAD, _REASONS, _CLOCK, _MAX_CLOCK, _LIMIT = "use", "load", "reasons", "clock", "max clock", "limit"
_UNTOLD = {
    _USE: "what other programs use of the GPU is not told ({}): only its load before the first trial counts",
    _LOAD: "the GPU's load is not told ({}): whether it was idle before the first trial is not known",
    _REASONS: "why the GPU's clock is low is not told ({}): a slowdown for heat goes unseen",
    _CLOCK: "the GPU's clock is not told ({}): findings come without it",
    _MAX_CLOCK: "the GPU's highest clock is not told ({}): findings come without it",
    _LIMIT: "the GPU's power limit is not told ({}): findings come without it, and its changes go unseen",
}


def has_host_pids() -> bool:
    """Say whether this process's id is the one that the driver knows it by. It need not be in a container with its own
    ids, where the driver may tell the host's (NVIDIA/nvidia-docker issue 1483)."""
    if sys.platform != "linux":
        return True
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _ROOT_PID_NAMESPACE
    except OSError:
        return False


class NvmlWatch:
    """Looks twice a second from a thread of its own.

    That no other program used the GPU is believed only where the driver has named this process among the users: a list
    without it is another container's, or none. Otherwise the GPU's load counts that was read when the watch was made,
    which has to be before this process's own work.
    """

    def __init__(self, card: Any, *, host_pids: bool, interval_s: float = INTERVAL_S) -> None:
        """`card` is NVML's handle; `host_pids` as `has_host_pids` says."""
        self._card = card
        self._host_pids = host_pids
        self._ticker = Ticker(self._look, interval_s, "gpu-watch")
        self._pid = os.getpid()
        self._own_use_seen = False
        self._last_us = 0
        self._refused: dict[str, str] = {}
        self._failure = ""
        self._n_failed = 0
        self._samples: list[GpuSample] = []
        self._max_clock_mhz = self._ask(_MAX_CLOCK, lambda: _sm_clock(pynvml.nvmlDeviceGetMaxClockInfo, card))
        self._load_before = self._ask(_LOAD, lambda: int(pynvml.nvmlDeviceGetUtilizationRates(card).gpu))

    def start(self) -> None:
        self._ticker.stop()
        self._others_percent()  # takes what the driver still holds of the time before
        self._samples, self._n_failed, self._own_use_seen = [], 0, False
        self._ticker.start()

    def stop(self) -> list[Finding]:
        self._ticker.stop()
        self._look()
        samples, refused = self._samples, dict(self._refused)
        if not self._own_use_seen:
            refused.setdefault(_USE, "this process is not among those it names")
            if not self._host_pids:
                samples = [replace(sample, others_percent=None) for sample in samples]
        found = judge(samples, self._max_clock_mhz)
        if _USE in refused:
            found += judge_load_before(self._load_before)
        else:
            refused.pop(_LOAD, None)  # nothing hangs on it
        self._load_before = None  # once: the next trial is no worse for it
        found += [Finding(_UNTOLD[query].format(why), disturbs=False) for query, why in refused.items()]
        if self._n_failed:
            text = f"NVML did not answer in {self._n_failed} of {len(samples)} readings ({self._failure})"
            found.append(Finding(text, disturbs=False))
        return found

    def _look(self) -> None:
        n_failed = self._n_failed
        sample = GpuSample(
            others_percent=self._others_percent(),
            clock_mhz=self._ask(_CLOCK, lambda: _sm_clock(pynvml.nvmlDeviceGetClockInfo, self._card)),
            slowdowns=self._ask(_REASONS, lambda: _slowdowns(self._card)),
            power_limit_w=self._ask(_LIMIT, lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(self._card) / 1000),
        )
        self._n_failed = min(self._n_failed, n_failed + 1)  # readings, not questions
        self._samples.append(sample)

    def _others_percent(self) -> int | None:
        use = self._ask(_USE, lambda: _use(self._card, self._last_us))
        if use is None:
            return None
        self._last_us = max([self._last_us, *(each.timeStamp for each in use)])
        self._own_use_seen = self._own_use_seen or any(each.pid == self._pid for each in use)
        return min(100, sum(int(each.smUtil) for each in use if each.pid != self._pid))

    def _ask(self, query: str, answer: Callable[[], T]) -> T | None:
        """Return the driver's answer, None where it has none now or, remembered, never."""
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
    except pynvml.NVMLError_FunctionNotFound:  # an older driver has the older name only
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)
    found = {kind for bit, kind in _SLOWDOWNS.items() if reasons & bit}
    # The hardware's general bit is set beside its reason, where it tells one.
    if reasons & pynvml.nvmlClocksEventReasonHwSlowdown and not found & {"hardware heat", "power brake"}:
        found.add("hardware")
    return frozenset(found)


def _use(card: Any, since_us: int) -> list[Any]:
    """Return what processes used of the GPU after `since_us`, as the driver stamps time, one entry each.

    Entries older than asked for, or of more than 100 %, are of processes that are gone (Syllo/nvtop issue 110,
    NVIDIA/DCGM issue 83).
    """
    try:
        use = pynvml.nvmlDeviceGetProcessUtilization(card, since_us)
    except pynvml.NVMLError as error:
        # pynvml raises its success where there are no entries to size an array for.
        if error.value in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND):
            return []
        raise
    return [each for each in use if each.timeStamp > since_us and each.smUtil <= 100]
