"""Watches what else the machine did while a trial was measured.

It reads the system's counters only before and after, since a sampling thread would use the cores that it watches.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from layertune.devices.host import battery, n_usable_cores
from layertune.devices.host_conditions import Finding, HostUse, findings

if TYPE_CHECKING:
    import psutil

_Count = TypeVar("_Count", int, float)


class HostWatch:
    """Watches the machine during the measured phase, in the worker process. It can be started again."""

    def __init__(self, n_threads_at_once: int) -> None:
        """Create the watch; `n_threads_at_once` is the largest number of threads that compute at the same time."""
        self._n_threads_at_once = n_threads_at_once
        self._before: _Reading | None = None

    def start(self) -> None:
        """Read the counters at the start of the window."""
        self._before = _read()

    def stop(self) -> list[Finding]:
        """Return the findings since `start`."""
        return findings(self.use(), n_usable_cores(), self._n_threads_at_once)

    def use(self) -> HostUse:
        """Return what the machine did since `start`."""
        if self._before is None:
            raise RuntimeError("HostWatch was not started")
        return _use_between(self._before, _read())


@dataclass(frozen=True, slots=True)
class _Reading:
    """The system's counters at one moment."""

    clock_s: float
    busy_cpu_s: float | None
    stolen_cpu_s: float | None
    own_cpu_s: float | None
    n_major_faults: int | None
    swapped_in_bytes: int | None
    battery_percent: float | None


def _read() -> _Reading:
    battery_percent, family = (
        _unplugged_percent(),
        _family(),
    )  # the slow ones first
    busy_cpu_s, stolen_cpu_s = _core_times()
    return _Reading(
        perf_counter(),
        busy_cpu_s,
        stolen_cpu_s,
        _family_cpu_s(family),
        _major_faults([process.pid for process in family]),
        _swapped_in_bytes(),
        battery_percent,
    )


def _use_between(before: _Reading, after: _Reading) -> HostUse:
    own_cpu_s = _growth(before.own_cpu_s, after.own_cpu_s)
    busy_cpu_s = _growth(before.busy_cpu_s, after.busy_cpu_s)
    return HostUse(
        window_s=after.clock_s - before.clock_s,
        own_cpu_s=own_cpu_s,
        # Rounding can make the difference negative.
        foreign_cpu_s=None if busy_cpu_s is None or own_cpu_s is None else max(0.0, busy_cpu_s - own_cpu_s),
        stolen_cpu_s=_growth(before.stolen_cpu_s, after.stolen_cpu_s),
        n_major_faults=_growth(before.n_major_faults, after.n_major_faults),
        swapped_in_bytes=_growth(before.swapped_in_bytes, after.swapped_in_bytes),
        battery_percent=before.battery_percent if after.battery_percent is None else after.battery_percent,
    )


def _growth(before: _Count | None, after: _Count | None) -> _Count | None:
    return None if before is None or after is None else after - before


def _core_times() -> tuple[float | None, float | None]:
    """Return the CPU seconds of programs on the usable cores, and the seconds that a hypervisor took from them.

    Interrupts are left out: they belong to no program, and the emulated card's sockets raise some.
    """
    if sys.platform != "linux":
        return _all_cores_busy_s(), None
    # psutil.cpu_times(percpu=True) drops the cores' numbers, and an offline core shifts all that follow.
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return None, None
    usable = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    cores = [[int(n_ticks) for n_ticks in line[1:]] for line in lines if line and line[0] in usable]
    n_busy = sum(user + nice + system for user, nice, system, *_ in cores)  # proc_stat(5); guests count in user
    if len(cores) < len(usable) or n_busy == 0:  # renumbered (lxcfs) or zero (gVisor): not this kernel's counters
        return None, None
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    n_stolen = sum(core[7] for core in cores) if all(len(core) > 7 for core in cores) else None
    return n_busy / ticks_per_s, None if n_stolen is None else n_stolen / ticks_per_s


def _all_cores_busy_s() -> float | None:
    """Return the CPU seconds of programs on all cores, for systems other than Linux."""
    import psutil

    try:
        times = psutil.cpu_times()
    except (psutil.Error, OSError, NotImplementedError):
        return None
    return times.user + times.system + float(getattr(times, "nice", 0.0))


def _family() -> list["psutil.Process"]:
    """Return this process, then its descendants."""
    import psutil

    family: list[psutil.Process] = []
    try:
        family.append(psutil.Process())
        family += family[0].children(recursive=True)
    except (psutil.Error, OSError, NotImplementedError):
        return family
    return family


def _family_cpu_s(family: Sequence["psutil.Process"]) -> float | None:
    """Return the CPU time of `family` and its ended children, plus the parent's own."""
    import psutil

    total_s = None
    for process in family:
        try:
            times = process.cpu_times()
        except (psutil.Error, OSError):
            continue  # it ended, and its parent's children_user includes it
        total_s = (total_s or 0.0) + times.user + times.system + times.children_user + times.children_system
    if total_s is None:
        return None
    try:
        parent = family[0].parent()
        if parent is None:
            return total_s
        times = parent.cpu_times()
    except (psutil.Error, OSError):
        return total_s
    return total_s + times.user + times.system  # its other children are not part of the trial


def _major_faults(pids: Sequence[int]) -> int | None:
    if sys.platform == "win32":
        return None  # Windows has one counter for all faults, and most need no disk
    if sys.platform != "linux":
        import resource

        return sum(resource.getrusage(who).ru_majflt for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    n_faults = None
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        n_faults = (n_faults or 0) + int(fields[9]) + int(fields[10])  # proc_pid_stat(5): majflt, cmajflt
    return n_faults


def _swapped_in_bytes() -> int | None:
    """Return the bytes that Linux has read from swap since it booted; other systems have no such counter."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    n_pages = next((int(line.split()[1]) for line in lines if line.startswith("pswpin ")), None)
    return None if n_pages is None else n_pages * os.sysconf("SC_PAGE_SIZE")


def _unplugged_percent() -> float | None:
    found = battery()
    return found.percent if found is not None and found.plugged_in is False else None
