"""Conditions of a GPU that make a trial's results doubtful: other programs, heat, power limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from layertune.devices.host_conditions import Finding

Slowdown = Literal["hardware", "hardware heat", "power brake", "heat", "power limit"]

# Another program that uses a share of the GPU can cost a trial the same share of its speed. pyperf calls a benchmark
# unstable from 10 % on; an idle desktop stays below that.
_OTHERS_PERCENT = 10

# On laptops, Dynamic Boost constantly moves a few watts between processor and GPU. A change of more than a tenth of the
# limit indicates another power source or profile.
_POWER_LIMIT_CHANGE = 0.1

_WORDS: dict[Slowdown, str] = {
    "hardware": "the hardware slowed the GPU down",
    "hardware heat": "the hardware slowed the GPU down for heat",
    "power brake": "the power supply's brake slowed the GPU down",
    "heat": "the driver slowed the GPU down for heat",
    "power limit": "the power limit kept the GPU's clock down",
}


class GpuWatch(Protocol):
    """Watches a GPU for disturbances of a measurement, from `start` to `stop`. It can be started again."""

    def start(self) -> None:
        """Start watching, and drop earlier samples."""
        ...

    def stop(self) -> list[Finding]:
        """Stop watching and return the findings. A driver that stops answering is a finding, not an exception."""
        ...


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One sample of a GPU's state. A value is None if the driver does not report it.

    Attributes:
        others_percent: Share of the GPU's time that other programs used since the previous sample, in percent.
        clock_mhz: Clock of the streaming multiprocessors, in MHz.
        slowdowns: Reasons why the clock is lower than it could be.
        power_limit_w: Current power limit, in watts.
    """

    others_percent: int | None
    clock_mhz: int | None
    slowdowns: frozenset[Slowdown] | None
    power_limit_w: float | None


def judge(samples: Sequence[GpuSample], max_clock_mhz: int | None) -> list[Finding]:
    """Return the findings of a series of samples.

    Args:
        samples: The samples, in the order of time.
        max_clock_mhz: The GPU's highest clock in MHz, None if it is not reported.
    """
    return [*_others(samples), *_slowdowns(samples, max_clock_mhz), *_changed_power_limit(samples)]


def judge_load_before(percent: int | None) -> list[Finding]:
    """Return a finding if the GPU was busy before this process used it.

    Args:
        percent: The GPU's load just before this process's first work, None if it is not reported.
    """
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
            text = f"{words} in {len(slowed)} of {len(samples)} readings{_details(kind, slowed, max_clock_mhz)}"
            # A laptop's GPU under load usually runs at its power limit. That is its normal speed, not a disturbance.
            found.append(Finding(text, disturbs=kind != "power limit"))
    return found


def _slowed(samples: Sequence[GpuSample], kind: Slowdown) -> list[GpuSample]:
    slowed = [kind in (each.slowdowns or ()) for each in samples]
    if kind == "hardware":
        # A clock change may set it too, until the next sample (nvml.h, nvmlClocksThrottleReasonHwSlowdown: "May be also
        # reported during PState or clock change"). So a single sample is ignored.
        around = [False, *slowed, False]
        slowed = [now and (around[at] or around[at + 2]) for at, now in enumerate(slowed)]
    return [each for each, yes in zip(samples, slowed, strict=True) if yes]


def _details(kind: Slowdown, slowed: Sequence[GpuSample], max_clock_mhz: int | None) -> str:
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
