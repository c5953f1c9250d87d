"""The machine that trials run on: processor, memory, battery, NVIDIA driver.

psutil is imported where it is used, since importing it is slow.
"""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layertune.units import KIB

PowerSource = Literal["mains", "battery"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine. `n_cores` are the cores that this process may use."""

    cpu_model: str
    n_cores: int
    ram_bytes: int


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    import psutil

    return Machine(cpu_model(), n_usable_cores(), psutil.virtual_memory().total)


def available_ram_bytes() -> int:
    """Return the RAM that programs can take now without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def n_usable_cores() -> int:
    """Return the number of cores that this process may use; a container or taskset can limit it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_rss_bytes() -> int:
    """Return this process's largest resident set so far; on Linux, since `reset_peak_rss`."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # Not getrusage's ru_maxrss, which a process inherits from its parent, here the search.
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB  # getrusage(2): KiB on Linux, bytes on macOS


def reset_peak_rss() -> bool:
    """Restart `peak_rss_bytes` from what is resident now; return whether this system can do that."""
    if sys.platform != "linux":
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc_pid_clear_refs(5), Linux 4.0
    except OSError:
        return False
    return True


def has_nvidia_card() -> bool:
    """Return whether an NVIDIA driver is loaded, independent of how llama.cpp was built."""
    marks = (
        Path("/proc/driver/nvidia/version"),
        Path("/usr/lib/wsl/lib/libnvidia-ml.so.1"),  # WSL2: the driver is Windows'
        Path(os.environ.get("SYSTEMROOT", "/"), "System32", "nvml.dll"),
    )
    return any(mark.exists() for mark in marks)


def cpu_model() -> str:
    """Return the processor's name as the system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery. `plugged_in` is None if the system does not report it."""

    percent: float
    plugged_in: bool | None


def battery() -> Battery | None:
    """Return the battery, None if there is none or the system does not report it."""
    import psutil

    try:
        found = psutil.sensors_battery()
    except (psutil.Error, OSError, NotImplementedError, AttributeError):  # psutil has it on some platforms only
        return None
    return None if found is None else Battery(found.percent, found.power_plugged)


def power_source(found: Battery | None) -> PowerSource | None:
    """Return the source of power according to the battery; None without a battery or if it is not known."""
    if found is None or found.plugged_in is None:
        return None
    return "mains" if found.plugged_in else "battery"
