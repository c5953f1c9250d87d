"""The 95 % interval of a median, from few samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import pi, sqrt, tan
from statistics import NormalDist, median, stdev

_LEVEL = 0.975  # two-sided 95 %
_Z = NormalDist().inv_cdf(_LEVEL)

# How much wider the median's interval is than the mean's: sqrt(pi / 2) for many samples of a normal distribution
# (Kenney and Keeping, Mathematics of Statistics, part 1, 1962, 14.5), a little less for few, so this is the safe side.
_MEDIAN_FACTOR = sqrt(pi / 2)

# The same of the pseudomedian (Hodges and Lehmann, Estimates of Location Based on Rank Tests, Annals of Mathematical
# Statistics 34, 1963).
_PSEUDOMEDIAN_FACTOR = sqrt(pi / 3)


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a median lies with 95 % confidence, in the unit of its samples."""

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
    return _interval(samples, median(samples), _MEDIAN_FACTOR) if len(samples) >= 2 else None


def pseudomedian_interval(samples: Sequence[float]) -> Interval | None:
    """Return the interval of the samples' median where they scatter symmetrically, as logarithms of ratios do; None
    where a single sample says nothing of its spread.

    Pseudomedian ± t(n − 1) · sqrt(pi / 3) · s / sqrt(n), as for the median; it is the median of the means of all pairs,
    each sample with itself among them (Hodges and Lehmann, 1963). Of many samples that scatter normally two thirds tell
    as much as all of them of the median. One outlier among four and more cannot move it beyond the others.
    """
    means = [(one + other) / 2 for one, other in combinations_with_replacement(samples, 2)]
    return _interval(samples, median(means), _PSEUDOMEDIAN_FACTOR) if len(samples) >= 2 else None


def _interval(samples: Sequence[float], middle: float, factor: float) -> Interval:
    n = len(samples)
    half = student_t(n - 1) * factor * stdev(samples) / sqrt(n)
    return Interval(middle, middle - half, middle + half)


def student_t(n_degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution, to 0.01.

    Closed forms for one and two degrees of freedom, above them the expansion of Abramowitz and Stegun, Handbook of
    Mathematical Functions, 1964, 26.7.5.
    """
    if n_degrees == 1:
        return tan(pi * (_LEVEL - 0.5))
    if n_degrees == 2:
        return (2 * _LEVEL - 1) * sqrt(2 / (4 * _LEVEL * (1 - _LEVEL)))
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(n_degrees) ** power for power, term in enumerate(terms, start=1))
