"""One line of the table: what changing one setting of one model does to its speed and to memory."""

from dataclasses import dataclass
from typing import Literal

from layertune.results.trial_info import MeasuredIn

SpeedSource = Literal["measured", "modelled"]
MemorySource = Literal["measured", "recorded plan", "plan"]
Gives = Literal["memory", "speed", "neither", "unknown"]


@dataclass(frozen=True, slots=True)
class Change:
    """Of a model's tokens/s alone: so many more or less than `before`, with the 95 % interval where there is one.

    Measured is the difference of two trials, the other one's number being `trial`; `measured_in` says when both figures
    were. Modelled is the difference of two expectations of the search's model.
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
        """Say whether the interval leaves out 0; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the model's buffers on all devices and on the host, more or less than before, both sides of one source:
    llama.cpp's own figures of two trials, two plans that the result has, or two that were made again."""

    device_bytes: int
    host_bytes: int
    source: MemorySource


@dataclass(frozen=True, slots=True)
class Over:
    """By how much a change would exceed a limit, and which."""

    n_bytes: int
    limit: Literal["the budget", "the model's RAM limit"]


@dataclass(frozen=True, slots=True)
class Line:
    """`knob` goes from `before` to `to`, and the settings `along` go with it. Where a figure is missing, words say why.
    `over` is what would be exceeded, None where nothing would or nobody knows."""

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
        """Return what it frees where memory is short: on the device, or on the host where there is none."""
        if self.memory is None:
            return 0
        return -self.memory.device_bytes if on_device else -self.memory.host_bytes


def gives(speed: Change | None, freed_bytes: int | None) -> Gives:
    """Return what a change is made for. A difference of speed that may be noise is none."""
    if freed_bytes is not None and freed_bytes > 0:
        return "memory"
    if speed is not None and speed.tokens_per_s > 0 and speed.clear is not False:
        return "speed"
    return "unknown" if speed is None or freed_bytes is None else "neither"


def ordered(lines: list[Line], *, on_device: bool) -> list[Line]:
    """Return first what frees memory, by the share of speed that each byte costs, the least first; then what buys
    speed, the most first; then the rest. Within each, what has no speed comes last."""

    def key(line: Line) -> tuple[int, bool, float]:
        place = ("memory", "speed", "neither", "unknown").index(line.gives)
        if line.speed is None:
            return place, True, 0.0
        if line.gives == "memory":
            return place, False, -line.speed.share / line.freed_bytes(on_device=on_device)
        return place, False, -line.speed.share

    return sorted(lines, key=key)
