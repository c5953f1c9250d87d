"""The cores that llama.cpp's threads should compute on: physical performance cores that this process may use.

As llama.cpp's own default (common/common.cpp, common_cpu_get_num_math), it counts neither the second thread of a core
nor efficiency cores, since ggml's threads wait for the slowest one after every node of the graph. Unlike llama.cpp, it
counts only cores of this process's affinity mask, and no more than a container's CPU quota.
"""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from layertune.devices.host import n_usable_cores

_ROOT = Path("/")
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of a machine that this process may use.

    Attributes:
        n_logical: Its processors as the system counts them: one for each hardware thread.
        n_performance: Its physical performance cores; all physical cores if they are of one kind.
        n_efficiency: Its physical efficiency cores.
        quota: The CPU time that its container may use, in cores; None without a limit.
    """

    n_logical: int
    n_performance: int
    n_efficiency: int = 0
    quota: float | None = None

    @property
    def n_compute(self) -> int:
        """The threads that compute fastest: one for each performance core, within the quota."""
        n_cores = self.n_performance if self.n_performance > 0 else self.n_efficiency
        return max(1, n_cores if self.quota is None else min(n_cores, int(self.quota)))

    @property
    def n_processors(self) -> int:
        """All processors, within the quota."""
        return self.n_logical if self.quota is None else max(1, min(self.n_logical, int(self.quota)))

    def words(self) -> str:
        """Return the cores as people read them, like `8 performance + 8 efficiency cores, 24 threads`."""
        kinds = f"{self.n_performance} cores"
        if self.n_efficiency:
            kinds = f"{self.n_performance} performance + {self.n_efficiency} efficiency cores"
        smt = f", {self.n_logical} threads" if self.n_logical > self.n_performance + self.n_efficiency else ""
        quota = "" if self.quota is None else f", limited to {self.quota:g} by its container"
        return f"{kinds}{smt}{quota}"


def this_cores() -> Cores:
    """Return the cores of this machine; where the system does not tell physical cores, all processors count."""
    n_logical, system = n_usable_cores(), platform.system()
    if system == "Linux":
        return linux_cores(sorted(os.sched_getaffinity(0)))
    if system == "Darwin":
        kinds = [_sysctl(name) for name in ("hw.perflevel0.physicalcpu", "hw.perflevel1.physicalcpu")]
        performance, efficiency = (0 if each is None else each for each in kinds)
        if performance > 0:
            return Cores(n_logical, performance, efficiency)
    import psutil

    physical = psutil.cpu_count(logical=False)
    return Cores(n_logical, n_logical if physical is None else min(n_logical, physical))


def linux_cores(processors: list[int], root: Path = _ROOT) -> Cores:
    """Return the cores of these processors, as Linux describes them in the folders /sys and /proc of `root`."""
    efficient = set(_numbers(_text(root / "sys/devices/cpu_atom/cpus")))  # Intel's hybrid processors only
    siblings = {each: _siblings(root, each) for each in processors}
    return Cores(
        len(processors),
        len({siblings[each] for each in processors if each not in efficient}),
        len({siblings[each] for each in processors if each in efficient}),
        _quota(root),
    )


def _siblings(root: Path, processor: int) -> str:
    """Return the processors of the same core, or a name of its own if the system does not tell."""
    folder = root / f"sys/devices/system/cpu/cpu{processor}/topology"
    return _text(folder / "core_cpus_list") or _text(folder / "thread_siblings_list") or f"{processor}"


def _quota(root: Path) -> float | None:
    """Return the smallest CPU quota of this process's control groups in cores, None without one."""
    limits = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":  # version 2
            limits += [_ratio(*_text(folder / "cpu.max").split()) for folder in _parents(root / "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            mounted = root / "sys/fs/cgroup" / controllers
            limits += [
                _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))
                for folder in _parents(mounted, path)
            ]
    return min((each for each in limits if each is not None), default=None)


def _parents(mounted: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a control group and those above it, up to where they are mounted."""
    folder = mounted / path.strip("/")
    yield folder
    while folder != mounted:
        folder = folder.parent
        yield folder


def _ratio(*quota_and_period: str) -> float | None:
    """Return the quota in cores; None for "max", for -1 and without one."""
    with suppress(ValueError):
        quota_us, period_us = map(float, quota_and_period)
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None
    return None


def _numbers(text: str) -> Iterator[int]:
    """Yield the numbers of a list such as `0-3,8`."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _sysctl(name: str) -> int | None:
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        return int(subprocess.run(["sysctl", "-n", name], capture_output=True, timeout=_TIMEOUT_S, check=True).stdout)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
