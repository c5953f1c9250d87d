"""This machine, as far as it decides how fast a trial runs. psutil is imported where it is used: it is slow to."""

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
    cpu_model: str
    n_cores: int  # those that this process may use
    ram_bytes: int


def this_machine() -> Machine:
    import psutil

    return Machine(cpu_model(), n_usable_cores(), psutil.virtual_memory().total)


def n_usable_cores() -> int:
    """Count the cores this process may run on, which a container or taskset can make fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_rss_bytes() -> int:
    """Return this process's largest resident set so far, on Linux since `reset_peak_rss`."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # Not getrusage's ru_maxrss: a process inherits that from the one that started it, here the search's.
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB  # getrusage(2): KiB on Linux, bytes on macOS


def reset_peak_rss() -> bool:
    """Let `peak_rss_bytes` start anew from what is resident now; return whether this system can do that."""
    if sys.platform != "linux":
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc_pid_clear_refs(5), Linux 4.0
    except OSError:
        return False
    return True


def has_nvidia_card() -> bool:
    """Say whether an NVIDIA driver is loaded, whatever llama.cpp was built with."""
    marks = (
        Path("/proc/driver/nvidia/version"),
        Path("/usr/lib/wsl/lib/libnvidia-ml.so.1"),  # WSL2: the driver is Windows'
        Path(os.environ.get("SYSTEMROOT", "/"), "System32", "nvml.dll"),
    )
    return any(mark.exists() for mark in marks)


def cpu_model() -> str:
    """Return the processor's name as its maker writes it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True, slots=True)
class Battery:
    """`plugged_in` is None where the system does not tell."""

    percent: float
    plugged_in: bool | None


def battery() -> Battery | None:
    """Return the battery, None where there is none or the system does not tell."""
    import psutil

    try:
        found = psutil.sensors_battery()
    except (psutil.Error, OSError, NotImplementedError, AttributeError):  # AttributeError: a platform without it
        return None
    return None if found is None else Battery(found.percent, found.power_plugged)


def power_source(found: Battery | None) -> PowerSource | None:
    """Return what `battery` says of the power; None where it says nothing, as on a machine without a battery."""
    if found is None or found.plugged_in is None:
        return None
    return "mains" if found.plugged_in else "battery"
