"""A measured figure: its median, its spread and every raw sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Metric:
    """`mad` is the median absolute deviation from the median, unscaled; samples are raw and in the order measured."""

    median: float
    mad: float
    n: int
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Metric":
        """Raises ValueError where there is no sample."""
        if not samples:
            raise ValueError("a metric needs at least one sample")
        middle = median(samples)
        spread = median(abs(sample - middle) for sample in samples)
        return cls(middle, spread, len(samples), tuple(samples))
