"""Conditions of the machine that make a trial's results doubtful, and their thresholds."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.units import MIB, format_bytes

# The counters have steps of 10 ms (user_hz), and Linux counts whole timer ticks. So their values differ from the sum of
# all processes' times. In measurements they gave other programs at most 0.07 cores too much over 0.3 s, and 0.04 over
# 0.5 s to 3 s (2 busy cores, Linux 6.18).
_MIN_WINDOW_S = 0.5
# Larger than that error, and 5 % of two cores: loads of one setting differ as much on a quiet machine.
_NOTED_CORES = 0.1
# 10 % of two cores. pyperf warns at a spread of 10 %.
_MAX_TAKEN_CORES = 0.2
# A program on otherwise idle cores still shares memory bandwidth, cache and clock with the models.
_MAX_NEIGHBOUR_CORES = 1.0
# A page fault waits about 0.1 ms for an SSD and 10 ms for a hard disk. Ten a second take 0.1 % or 10 % of a thread's
# time, and the model's other threads wait for it. Models that are in memory cause no such faults.
_MAX_FAULTS_PER_S = 10.0
# For the whole machine: 256 waits of 0.1 ms per second, 3 % of one thread. The trial's own also count as page faults.
_MAX_SWAPPED_IN_BYTES_PER_S = MIB


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that was found while a trial was measured.

    Attributes:
        text: A sentence fragment with values and units.
        disturbs: Whether the trial has to be measured again. If not, the finding is a warning of the trial.
    """

    text: str
    disturbs: bool


@dataclass(frozen=True, slots=True)
class HostUse:
    """What the machine did in one time window. A value is None if the system does not report it.

    Attributes:
        window_s: Length of the window.
        own_cpu_s: CPU time of this process, its descendants (the emulated card's servers) and its parent (the search).
        foreign_cpu_s: CPU time of all other programs on the cores that this process may use.
        stolen_cpu_s: Time for which a hypervisor kept those cores from programs that were ready to run.
        n_major_faults: Page faults of this process and its descendants that waited for a disk.
        swapped_in_bytes: Bytes that the whole machine read back from swap.
        battery_percent: Charge of the battery if the machine ran on it; None on mains power.
    """

    window_s: float
    own_cpu_s: float | None
    foreign_cpu_s: float | None
    stolen_cpu_s: float | None
    n_major_faults: int | None
    swapped_in_bytes: int | None
    battery_percent: float | None


def oversubscription(threads: Mapping[str, int], n_cores: int, n_asleep: int = 0) -> str | None:
    """Return a sentence fragment if more threads compute at once than there are cores, otherwise None.

    ggml's threads meet at a barrier after every node of the graph (ggml-cpu.c: ggml_barrier). So a thread that waits
    for a core delays all other threads of its model.

    Args:
        threads: The number of threads that compute at once, by a name for the message.
        n_cores: The cores that this process may use.
        n_asleep: The number of them that are asleep at any time. A model with a single thread sleeps while an emulated
            card computes for it; several threads spin for some time before they sleep.
    """
    if sum(threads.values()) - n_asleep <= n_cores:
        return None
    shares = " + ".join(f"{name} {n_threads}" for name, n_threads in threads.items())
    return f"{shares} threads share {_cores(n_cores)}"


def findings(use: HostUse, n_cores: int, n_threads_at_once: int) -> list[Finding]:
    """Return the findings for a measurement.

    Args:
        use: What the machine did meanwhile.
        n_cores: The cores that this process may use.
        n_threads_at_once: The most threads that the measurement computed with at one time.
    """
    found = [*_cpu_findings(use, n_cores, n_threads_at_once), *_paging_findings(use)]
    if use.battery_percent is not None:
        found.append(Finding(f"the machine ran on its battery, {use.battery_percent:.0f} % charged", disturbs=False))
    return found


def _cpu_findings(use: HostUse, n_cores: int, n_threads_at_once: int) -> list[Finding]:
    if use.foreign_cpu_s is None:
        return [Finding("this system does not report how much CPU time other programs took", disturbs=False)]
    if use.window_s < _MIN_WINDOW_S:
        return []
    foreign = use.foreign_cpu_s / use.window_s
    stolen = (use.stolen_cpu_s or 0.0) / use.window_s
    n_spare = max(0, n_cores - n_threads_at_once)
    # If all cores are busy, other programs slow the models down, even if the models need fewer cores than there are.
    full = use.own_cpu_s is not None and use.own_cpu_s / use.window_s + foreign + stolen > n_cores - _NOTED_CORES
    # A hypervisor steals only from threads that are ready to run, so spare cores make no difference.
    taken = max(foreign - (0 if full else n_spare), stolen)
    if taken <= _NOTED_CORES and foreign + stolen <= _MAX_NEIGHBOUR_CORES:
        return []
    takers = (("other programs", foreign), ("the hypervisor", stolen))
    words = " and ".join(f"{taker} took {cores:.2f} cores" for taker, cores in takers if cores >= 0.005)
    text = f"{words} for {use.window_s:.1f} s, with {n_spare} of {n_cores} cores to spare"
    return [Finding(text, disturbs=taken > _MAX_TAKEN_CORES)]


def _paging_findings(use: HostUse) -> list[Finding]:
    window_s = max(use.window_s, _MIN_WINDOW_S)  # a few faults in a short window are not a rate
    found = []
    if use.n_major_faults is not None and use.n_major_faults > _MAX_FAULTS_PER_S * window_s:
        text = f"the trial waited for a disk at {use.n_major_faults} major page faults in {use.window_s:.1f} s"
        found.append(Finding(text, disturbs=True))
    if use.swapped_in_bytes is not None and use.swapped_in_bytes > _MAX_SWAPPED_IN_BYTES_PER_S * window_s:
        text = f"the machine swapped in {format_bytes(use.swapped_in_bytes)} in {use.window_s:.1f} s"
        found.append(Finding(text, disturbs=True))
    return found


def _cores(n_cores: int) -> str:
    return "1 core" if n_cores == 1 else f"{n_cores} cores"
