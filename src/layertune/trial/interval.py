"""The interval of a median, from few samples: of 95 % unless another level is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import cos, pi, sin, sqrt, tan
from statistics import median, stdev

LEVEL = 0.975  # two-sided 95 %
_N_BISECTIONS = 60

# How much wider the median's interval is than the mean's: sqrt(pi / 2) for many samples of a normal distribution
# (Kenney and Keeping, Mathematics of Statistics, part 1, 1962, 14.5), a little less for few, so this is the safe side.
_MEDIAN_FACTOR = sqrt(pi / 2)

# The same of the pseudomedian (Hodges and Lehmann, Estimates of Location Based on Rank Tests, Annals of Mathematical
# Statistics 34, 1963).
_PSEUDOMEDIAN_FACTOR = sqrt(pi / 3)


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a median lies with the confidence that was asked for, in the unit of its samples."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the interval's width relative to the median, without a unit."""
        return (self.high - self.low) / 2 / self.median


def median_interval(samples: Sequence[float]) -> Interval | None:
    """Return the interval of the samples' median, None where a single sample says nothing of its spread.

    median ± t(n − 1) · sqrt(pi / 2) · s / sqrt(n): Student's t, as for the mean of samples that scatter normally, wider
    by what the median costs. An order-statistic interval would need no distribution and six samples at least.
    """
    return _interval(samples, median(samples), _MEDIAN_FACTOR, LEVEL) if len(samples) >= 2 else None


def pseudomedian_interval(samples: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return the interval of the samples' median where they scatter symmetrically, as logarithms of ratios do; None
    where a single sample says nothing of its spread.

    Pseudomedian ± t(n − 1) · sqrt(pi / 3) · s / sqrt(n), as for the median; it is the median of the means of all pairs,
    each sample with itself among them (Hodges and Lehmann, 1963). Of many samples that scatter normally two thirds tell
    as much as all of them of the median. One outlier among four and more cannot move it beyond the others. Either end
    is beyond the truth with a probability of 1 − `level`.
    """
    means = [(one + other) / 2 for one, other in combinations_with_replacement(samples, 2)]
    return _interval(samples, median(means), _PSEUDOMEDIAN_FACTOR, level) if len(samples) >= 2 else None


def _interval(samples: Sequence[float], middle: float, factor: float, level: float) -> Interval:
    n = len(samples)
    half = student_t(n - 1, level) * factor * stdev(samples) / sqrt(n)
    return Interval(middle, middle - half, middle + half)


@lru_cache
def student_t(n_degrees: int, level: float = LEVEL) -> float:
    """Return the quantile of Student's t distribution at `level`, which is above one half, by bisection."""
    low, high = 0.0, pi / 2
    for _ in range(_N_BISECTIONS):
        middle = (low + high) / 2
        if _within(middle, n_degrees) < 2 * level - 1:
            low = middle
        else:
            high = middle
    return sqrt(n_degrees) * tan(high)


def _within(angle: float, n_degrees: int) -> float:
    """Return how probable |t| is at most sqrt(n_degrees) · tan(angle) (Abramowitz and Stegun, Handbook of Mathematical
    Functions, 1964, 26.7.3 and 26.7.4)."""
    odd = n_degrees % 2
    term = cos(angle) if odd else 1.0
    total = term if n_degrees > 1 else 0.0
    for k in range(2 + odd, n_degrees, 2):
        term *= cos(angle) ** 2 * (k - 1) / k
        total += term
    total *= sin(angle)
    return 2 / pi * (angle + total) if odd else total
