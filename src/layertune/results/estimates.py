"""What is known of the trials' speeds when a winner is chosen: the best guess, and how uncertain each difference is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from layertune.results.statistics import Comparison
from layertune.trial.interval import LEVEL, student_t

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """The logarithm of how many times as fast one trial is as another: Student's t with this mean, scale and degrees of
    freedom."""

    mean: float
    scale: float
    n_degrees: int

    def comparison(self, level: float = LEVEL) -> Comparison:
        """Return the ratio and its interval; either end errs with a probability of 1 − `level`."""
        half = student_t(self.n_degrees, level) * self.scale
        return Comparison(exp(self.mean), exp(self.mean - half), exp(self.mean + half))


@dataclass(frozen=True, slots=True)
class Estimates:
    """Logarithms of the tokens/s of some trials, by model: `mean` of shape (n,), `covariance` of shape (n, n).

    `numbers` are the trials' numbers in the order of the rows.
    """

    numbers: Sequence[int]
    mean: Mapping[str, Floats]
    covariance: Mapping[str, Floats]
    n_degrees: int

    def speeds(self, number: int) -> dict[str, float]:
        """Return a trial's tokens/s by model."""
        row = self.numbers.index(number)
        return {name: float(np.exp(mean[row])) for name, mean in self.mean.items()}

    def difference(self, one: int, other: int, weights: Mapping[str, float]) -> Difference:
        """Compare the weighted geometric means of two trials' speeds; `one` and `other` are their numbers."""
        rows = [self.numbers.index(one), self.numbers.index(other)]
        total = sum(weights.values())
        mean = variance = 0.0
        for name, weight in weights.items():
            share = weight / total
            ours = self.covariance[name][np.ix_(rows, rows)]
            mean += share * float(self.mean[name][rows[0]] - self.mean[name][rows[1]])
            variance += share**2 * float(ours[0, 0] + ours[1, 1] - 2 * ours[0, 1])
        return Difference(mean, sqrt(max(variance, 0.0)), self.n_degrees)
