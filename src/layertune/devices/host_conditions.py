"""Conditions that make a trial's figures doubtful: what they are, and from which amount on."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.units import MIB, format_bytes

# The counters step by 10 ms (user_hz), and Linux counts whole timer ticks: beside the sum of all processes' own times,
# this account gave others at most 0.07 cores too much in 0.3 s and 0.04 in 0.5 s to 3 s (2 busy cores, Linux 6.18).
_MIN_WINDOW_S = 0.5
# Above that error, and 5 % of two cores: less than the spread of repetitions hides (pyperf warns at 10 %).
_MAX_TAKEN_CORES = 0.1
# A program on cores that nobody computes on still shares memory bandwidth, cache and clock with the models.
_MAX_NEIGHBOUR_CORES = 1.0
# A fault waits about 0.1 ms for an SSD and 10 ms for a spinning disk: at most 0.1 % or 10 % of a thread's time, and
# all threads of a model wait for that one. Warmed-up models in memory have none.
_MAX_FAULTS_PER_S = 10.0
# The whole machine's: 256 waits of 0.1 ms a second, 3 % of one thread. The trial's own count as its faults, too.
_MAX_SWAPPED_IN_BYTES_PER_S = MIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition noticed around the measured phase of a trial.

    Attributes:
        text: One sentence fragment with figures and units.
        disturbs: The figures measured under it have to be measured again; False is a warning that stays on the trial.
    """

    text: str
    disturbs: bool


@dataclass(frozen=True, slots=True)
class HostUse:
    """What the machine did in one window. None is what the system does not tell.

    Attributes:
        window_s: How long the window was.
        own_cpu_s: CPU time of this process, its descendants (the emulated card's servers) and its parent (the search).
        foreign_cpu_s: CPU time of all other programs on the cores that this process may use.
        stolen_cpu_s: Time for which a hypervisor kept those cores from whoever wanted to compute on them.
        n_major_faults: Pages that this process and its descendants had to wait for a disk for.
        swapped_in_bytes: What the whole machine read back from swap.
        battery_percent: The battery's charge where the power was unplugged; None on mains power.
    """

    window_s: float
    own_cpu_s: float | None
    foreign_cpu_s: float | None
    stolen_cpu_s: float | None
    n_major_faults: int | None
    swapped_in_bytes: int | None
    battery_percent: float | None


def oversubscription(threads: Mapping[str, int], n_cores: int) -> str | None:
    """Say who computes with more threads than there are cores, as a sentence fragment; None where they fit.

    ggml's threads meet at a barrier after every node of the graph (ggml-cpu.c: ggml_barrier), so one that waits for a
    core holds up all others of its model.

    Args:
        threads: The threads of all that computes at once, by what a reader calls it.
        n_cores: The cores that this process may use.
    """
    if sum(threads.values()) <= n_cores:
        return None
    shares = " + ".join(f"{name} {n_threads}" for name, n_threads in threads.items())
    return f"{shares} threads share {_cores(n_cores)}"


def findings(use: HostUse, n_cores: int, n_threads_at_once: int) -> list[Finding]:
    """Return what `use` says against figures measured meanwhile with that many threads on that many cores."""
    found = [*_cpu_findings(use, n_cores, n_threads_at_once), *_paging_findings(use)]
    if use.battery_percent is not None:
        found.append(Finding(f"the machine ran on its battery, {use.battery_percent:.0f} % charged", disturbs=False))
    return found


def _cpu_findings(use: HostUse, n_cores: int, n_threads_at_once: int) -> list[Finding]:
    if use.foreign_cpu_s is None:
        return [Finding("this system does not tell how much CPU time other programs took", disturbs=False)]
    if use.window_s < _MIN_WINDOW_S:
        return []
    foreign = use.foreign_cpu_s / use.window_s
    stolen = (use.stolen_cpu_s or 0.0) / use.window_s
    n_spare = max(0, n_cores - n_threads_at_once)
    # With no core idle, whoever wants one more waits: then others took theirs from the models, spare or not.
    full = use.own_cpu_s is not None and use.own_cpu_s / use.window_s + foreign + stolen > n_cores - _MAX_TAKEN_CORES
    # Time is stolen only from a core that somebody waits for: spare cores are no help.
    disturbs = foreign > (0 if full else n_spare) + _MAX_TAKEN_CORES or stolen > _MAX_TAKEN_CORES
    if not disturbs and foreign + stolen <= _MAX_NEIGHBOUR_CORES:
        return []
    takers = (("other programs", foreign), ("the hypervisor", stolen))
    taken = " and ".join(f"{who} took {cores:.2f} cores" for who, cores in takers if cores >= 0.005)
    return [Finding(f"{taken} for {use.window_s:.1f} s, with {n_spare} of {n_cores} cores to spare", disturbs)]


def _paging_findings(use: HostUse) -> list[Finding]:
    window_s = max(use.window_s, _MIN_WINDOW_S)  # exact counts, but a few first touches must not make a rate
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
