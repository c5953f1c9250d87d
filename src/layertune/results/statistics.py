"""A measured quantity with its spread, and whether one setting has more of it than another."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import exp, log
from statistics import median
from typing import TypeVar

from layertune.trial.interval import LEVEL, median_interval, pseudomedian_interval

# What choosing the leaner of two settings may cost, relative: one that looks slower by more is not called tied.
TIE = 0.01

# When two measurements were made: trials' by `results.trials.Round`.
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Metric:
    """A median with its spread and every raw sample, in the order measured.

    `mad` is the median absolute deviation from the median, unscaled. `low` and `high` are the 95 % interval of the
    median, None for a single sample.
    """

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
        """Return the metric of several rounds of samples: its median and interval are those of the rounds' medians.

        Samples of one round share one load of the model and a few minutes of the machine, so they scatter less than
        rounds do.

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


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many times as much of a quantity one setting has as another.

    `low` and `high` are the interval of `ratio`, of 95 % unless another level was asked for. Settings that were
    measured in one common round have no interval, and show no clear difference.
    """

    ratio: float
    low: float | None
    high: float | None

    @property
    def clear(self) -> bool:
        """Whether the two differ: whether the interval leaves out 1."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def tied(self) -> bool:
        """Whether the leaner of the two may be chosen: no difference is shown, and the best guess is at most TIE. The
        interval may be wider, so this does not mean that the two are equal."""
        return not self.clear and abs(log(self.ratio)) <= log(1 + TIE)

    def no_less(self, margin: float) -> bool:
        """Return whether it is shown, at the interval's level, that the first has less by no more than `margin`,
        relative."""
        return self.low is not None and self.low > 1 - margin

    def no_more(self, margin: float) -> bool:
        """Return whether it is shown, at the interval's level, that the first has more by no more than `margin`,
        relative."""
        return self.high is not None and self.high < 1 + margin


def compare(ours: Mapping[_Key, float], theirs: Mapping[_Key, float], level: float = LEVEL) -> Comparison | None:
    """Compare two settings by the ratios of what was measured in the same round. A machine that becomes slower between
    rounds changes both sides of each ratio alike.

    Ratio and interval are those of the log ratios' pseudomedian; either end of the interval errs with a probability of
    1 − `level`. Return None without a common round.
    """
    ratios = [log(ours[each] / theirs[each]) for each in ours if each in theirs]
    if not ratios:
        return None
    interval = pseudomedian_interval(ratios, level)
    if interval is None:
        return Comparison(exp(ratios[0]), None, None)
    return Comparison(exp(interval.median), exp(interval.low), exp(interval.high))
