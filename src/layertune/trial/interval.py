"""Confidence intervals of a median from few samples, 95 % by default."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import cos, pi, sin, sqrt, tan
from statistics import median, stdev

LEVEL = 0.975  # two-sided 95 %
_N_BISECTIONS = 60

# How much wider the median's interval is than the mean's: sqrt(pi / 2) for many samples of a normal distribution
# (Kenney and Keeping, Mathematics of Statistics, part 1, 1962, 14.5). For few samples it is a little less, so the
# interval is never too narrow.
_MEDIAN_FACTOR = sqrt(pi / 2)

# The same for the pseudomedian (Hodges and Lehmann, Estimates of Location Based on Rank Tests, Annals of Mathematical
# Statistics 34, 1963).
_PSEUDOMEDIAN_FACTOR = sqrt(pi / 3)


@dataclass(frozen=True, slots=True)
class Interval:
    """The confidence interval of a median, in the unit of its samples."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the interval's width relative to the median (no unit)."""
        return (self.high - self.low) / 2 / self.median


def median_interval(samples: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of the samples' median, None for a single sample.

    median ± t(n − 1) · sqrt(pi / 2) · s / sqrt(n): Student's t as for the mean of normally distributed samples, widened
    for the median. An order-statistic interval would assume no distribution, but needs at least six samples.
    """
    return _interval(samples, median(samples), _MEDIAN_FACTOR, LEVEL) if len(samples) >= 2 else None


def pseudomedian_interval(samples: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return the interval of the median of symmetrically distributed samples, such as logarithms of ratios.

    pseudomedian ± t(n − 1) · sqrt(pi / 3) · s / sqrt(n). The pseudomedian is the median of the means of all pairs,
    including each sample with itself (Hodges and Lehmann, 1963). For normally distributed samples it needs two thirds
    as many as the median for the same precision. One outlier among four or more samples cannot move it beyond the
    others.

    Args:
        samples: The samples.
        level: Each end of the interval is beyond the true value with a probability of 1 − `level`.

    Returns:
        None for a single sample.
    """
    means = [(one + other) / 2 for one, other in combinations_with_replacement(samples, 2)]
    return _interval(samples, median(means), _PSEUDOMEDIAN_FACTOR, level) if len(samples) >= 2 else None


def _interval(samples: Sequence[float], middle: float, factor: float, level: float) -> Interval:
    n = len(samples)
    half = student_t(n - 1, level) * factor * stdev(samples) / sqrt(n)
    return Interval(middle, middle - half, middle + half)


@lru_cache
def student_t(n_degrees: int, level: float = LEVEL) -> float:
    """Return the quantile of Student's t distribution at `level`, which must be above 0.5, by bisection."""
    low, high = 0.0, pi / 2
    for _ in range(_N_BISECTIONS):
        middle = (low + high) / 2
        if _within(middle, n_degrees) < 2 * level - 1:
            low = middle
        else:
            high = middle
    return sqrt(n_degrees) * tan(high)


def _within(angle: float, n_degrees: int) -> float:
    """Return the probability that |t| is at most sqrt(n_degrees) · tan(angle).

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, 26.7.3 and 26.7.4.
    """
    odd = n_degrees % 2
    term = cos(angle) if odd else 1.0
    total = term if n_degrees > 1 else 0.0
    for k in range(2 + odd, n_degrees, 2):
        term *= cos(angle) ** 2 * (k - 1) / k
        total += term
    total *= sin(angle)
    return 2 / pi * (angle + total) if odd else total
