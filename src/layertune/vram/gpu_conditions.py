"""What the GPU's own driver saw while a trial was measured, and whether the trial's figures can be believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from layertune.devices.host_conditions import Finding

Slowdown = Literal["hardware", "hardware heat", "power brake", "heat", "power limit"]

# A share of the GPU that another program has can cost a trial as large a share of its speed. From 10 % on, pyperf
# calls a benchmark unstable; a desktop at rest stays below.
_OTHERS_PERCENT = 10

# Dynamic Boost moves a laptop's power between processor and GPU all the time by some watts; more than a tenth of the
# limit is another power source or profile.
_POWER_LIMIT_CHANGE = 0.1

_WORDS: dict[Slowdown, str] = {
    "hardware": "the hardware slowed the GPU down",
    "hardware heat": "the hardware slowed the GPU down for heat",
    "power brake": "the power supply's brake slowed the GPU down",
    "heat": "the driver slowed the GPU down for heat",
    "power limit": "the power limit kept the GPU's clock down",
}


class GpuWatch(Protocol):
    """Looks for what disturbs a GPU's figures, from `start` to `stop`; for one trial after the other."""

    def start(self) -> None:
        """Begin to look, and forget what was seen before."""
        ...

    def stop(self) -> list[Finding]:
        """Stop looking, and return what was found. A driver that stops answering is a finding, never an exception."""
        ...


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One look at the GPU; None is what the driver does not tell.

    Attributes:
        others_percent: The part of the GPU's time that other programs had since the look before.
        clock_mhz: The clock of the streaming multiprocessors.
        slowdowns: Why the clock is lower than it could be.
        power_limit_w: What the GPU may draw now, in watts.
    """

    others_percent: int | None
    clock_mhz: int | None
    slowdowns: frozenset[Slowdown] | None
    power_limit_w: float | None


def judge(samples: Sequence[GpuSample], max_clock_mhz: int | None) -> list[Finding]:
    """Return what `samples`, in the order of time, have of disturbances and of what is worth knowing."""
    return [*_others(samples), *_slowdowns(samples, max_clock_mhz), *_changed_power_limit(samples)]


def judge_load_before(percent: int | None) -> list[Finding]:
    """Judge the GPU's load from just before this process's own work."""
    if percent is None or percent < _OTHERS_PERCENT:
        return []
    return [Finding(f"the GPU was busy {percent} % of the time before the first trial", disturbs=True)]


def _others(samples: Sequence[GpuSample]) -> list[Finding]:
    busy = [each.others_percent for each in samples if (each.others_percent or 0) >= _OTHERS_PERCENT]
    known = [percent for percent in busy if percent is not None]
    if not known:
        return []
    text = f"another program used up to {max(known)} % of the GPU, in {len(known)} of {len(samples)} readings"
    return [Finding(text, disturbs=True)]


def _slowdowns(samples: Sequence[GpuSample], max_clock_mhz: int | None) -> list[Finding]:
    found = []
    for kind, words in _WORDS.items():
        slowed = _slowed(samples, kind)
        if slowed:
            text = f"{words} in {len(slowed)} of {len(samples)} readings{_figures(kind, slowed, max_clock_mhz)}"
            # A laptop's GPU under load is at its power limit as a rule: that is its speed, not a disturbance.
            found.append(Finding(text, disturbs=kind != "power limit"))
    return found


def _slowed(samples: Sequence[GpuSample], kind: Slowdown) -> list[GpuSample]:
    slowed = [kind in (each.slowdowns or ()) for each in samples]
    if kind == "hardware":
        # "May be also reported during PState or clock change" (nvml.h, nvmlClocksThrottleReasonHwSlowdown), which is
        # over by the next reading: one alone shows nothing.
        around = [False, *slowed, False]
        slowed = [now and (around[at] or around[at + 2]) for at, now in enumerate(slowed)]
    return [each for each, yes in zip(samples, slowed, strict=True) if yes]


def _figures(kind: Slowdown, slowed: Sequence[GpuSample], max_clock_mhz: int | None) -> str:
    clocks_mhz = [each.clock_mhz for each in slowed if each.clock_mhz is not None]
    limits_w = [each.power_limit_w for each in slowed if each.power_limit_w is not None]
    text = f", to {min(clocks_mhz)} MHz" if clocks_mhz else ""
    if clocks_mhz and max_clock_mhz is not None:
        text += f" of {max_clock_mhz} MHz"
    if kind == "power limit" and limits_w:
        text += f", at {min(limits_w):.0f} W"
    return text


def _changed_power_limit(samples: Sequence[GpuSample]) -> list[Finding]:
    limits_w = [each.power_limit_w for each in samples if each.power_limit_w is not None]
    if not limits_w or max(limits_w) - min(limits_w) <= _POWER_LIMIT_CHANGE * max(limits_w):
        return []
    text = f"the GPU's power limit changed between {min(limits_w):.0f} W and {max(limits_w):.0f} W"
    return [Finding(text, disturbs=False)]
