"""One line of an explanation: the effect of changing one setting of one model on its speed and on memory."""

from dataclasses import dataclass
from typing import Literal

from layertune.results.trial_info import MeasuredIn

SpeedSource = Literal["measured", "modelled"]
MemorySource = Literal["measured", "recorded plan", "plan"]
Gives = Literal["memory", "speed", "neither", "unknown"]


@dataclass(frozen=True, slots=True)
class Change:
    """Change of a model's tokens/s alone from `before`, with its 95 % interval if there is one.

    A measured change is the difference to the trial with the number `trial`, both measured in the stage `measured_in`.
    A modelled change is the difference of two expected values of the search's model.
    """

    tokens_per_s: float
    low: float | None
    high: float | None
    before: float
    source: SpeedSource
    trial: int | None = None
    measured_in: MeasuredIn = "search"

    @property
    def share(self) -> float:
        return self.tokens_per_s / self.before

    @property
    def clear(self) -> bool | None:
        """Return whether the interval excludes 0; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Memory:
    """Change of the bytes of the model's buffers, on all devices and on the host.

    Both sides have the same source: the buffers measured in two trials, two recorded plans, or two plans computed now.
    """

    device_bytes: int
    host_bytes: int
    source: MemorySource


@dataclass(frozen=True, slots=True)
class Over:
    """The limit that a change would exceed, and by how many bytes."""

    n_bytes: int
    limit: Literal["the budget", "the model's RAM limit"]


@dataclass(frozen=True, slots=True)
class Line:
    """One setting (`knob`) changed from `before` to `to`, together with the settings `along`.

    `no_speed` and `no_memory` are the reason for a missing value. `over` is the limit that would be exceeded, None if
    there is none or it is unknown. `gives` is the benefit of the change.
    """

    model: str
    knob: str
    before: int
    to: int
    along: tuple[str, ...]
    speed: Change | None
    no_speed: str | None
    memory: Memory | None
    no_memory: str | None
    over: Over | None
    gives: Gives

    def freed_bytes(self, *, on_device: bool) -> int:
        """Return the bytes that the change frees on the device, or on the host if there is no device."""
        if self.memory is None:
            return 0
        return -self.memory.device_bytes if on_device else -self.memory.host_bytes


def gives(speed: Change | None, freed_bytes: int | None) -> Gives:
    """Return the benefit of a change. A difference of speed that may be noise does not count."""
    if freed_bytes is not None and freed_bytes > 0:
        return "memory"
    if speed is not None and speed.tokens_per_s > 0 and speed.clear is not False:
        return "speed"
    return "unknown" if speed is None or freed_bytes is None else "neither"


def ordered(lines: list[Line], *, on_device: bool) -> list[Line]:
    """Return the lines in order of benefit.

    First those that free memory, least share of speed lost per byte first; then those that gain speed, most first; then
    the rest. Within each group, lines without a speed come last.
    """

    def key(line: Line) -> tuple[int, bool, float]:
        place = ("memory", "speed", "neither", "unknown").index(line.gives)
        if line.speed is None:
            return place, True, 0.0
        if line.gives == "memory":
            return place, False, -line.speed.share / line.freed_bytes(on_device=on_device)
        return place, False, -line.speed.share

    return sorted(lines, key=key)
