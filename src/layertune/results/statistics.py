"""A measured figure: its median, its spread and every raw sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from layertune.trial.interval import median_interval


@dataclass(frozen=True, slots=True)
class Metric:
    """`mad` is the median absolute deviation from the median, unscaled; `low` and `high` are the 95 % interval of the
    median, None where a single sample has none; samples are raw and in the order measured."""

    median: float
    mad: float
    n: int
    samples: tuple[float, ...]
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Metric":
        """Raises ValueError where there is no sample."""
        return cls.of_rounds([[sample] for sample in samples])

    @classmethod
    def of_rounds(cls, rounds: Sequence[Sequence[float]]) -> "Metric":
        """Return the figure of several rounds of samples: its median and interval are those of the rounds' medians.

        Samples of one round share its load of the model and its minute of the machine, so they scatter less than the
        figure does.

        Raises:
            ValueError: there is no sample.
        """
        if not rounds or not all(rounds):
            raise ValueError("a metric needs at least one sample")
        samples = tuple(chain.from_iterable(rounds))
        values = [median(each) for each in rounds]
        middle = median(values)
        spread = median(abs(sample - middle) for sample in samples)
        interval = median_interval(values)
        low, high = (None, None) if interval is None else (interval.low, interval.high)
        return cls(middle, spread, len(samples), samples, low, high)
