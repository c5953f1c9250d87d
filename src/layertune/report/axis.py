"""From a value to its place in a figure, and the round values that an axis names."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

_N_TICKS = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """`low` to `high` in the label's unit, drawn from `start` to `end` in the figure's own units."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    start: float = 0.0
    end: float = 1.0

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def spanning(self, start: float, end: float) -> "Axis":
        return Axis(self.label, self.low, self.high, self.ticks, start, end)


def axis(label: str, values: Sequence[float], *, whole: bool = False, from_zero: bool = True) -> Axis:
    """Return an axis a little beyond the largest value; with `whole`, it names whole numbers only.

    From 0, so that half the height is half the speed; or else from below the least value, where points lie close
    together and only their places are compared.
    """
    top = max([value for value in values if value > 0], default=1.0)
    low = 0.0 if from_zero else min(values, default=0.0)
    if low < top / 2 or low == top:
        low, margin = 0.0, 0.06 * top
    else:
        margin = max(0.12 * (top - low), 0.002 * top)  # figures may differ by less than a float can be drawn apart
        low -= margin
    step = _round_step((top - low) / _N_TICKS)
    if whole:
        step = max(1.0, float(round(step)))
    high = top + margin
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return Axis(label, low, high, tuple(step * n for n in range(first, last + 1)))


def tick_text(value: float) -> str:
    return f"{value:.10g}"


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 and 10 times a power of ten that is not below `least`."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))
