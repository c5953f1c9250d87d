"""How much a trial may be expected to add to the hypervolume, as if what is unknown of each objective were independent.

Emmerich, Deutz, Klinkenberg: Hypervolume-based expected improvement, IEEE CEC 2011: over the disjoint boxes of what is
not dominated yet, the expected overlap of each box with what the trial would dominate is a product over the objectives.
That is exact for speeds of different models. It is an approximation where two objectives are of one model, as tokens/s
and TTFT, which share what is unknown of its prompt's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from layertune.sampler.hypervolume import Boxes

Floats = NDArray[np.float64]

_MOST_PRODUCTS = 4_000_000  # candidates times boxes; a proposal has to come in milliseconds
_SQRT_2_PI = np.sqrt(2 * np.pi)


@dataclass(frozen=True, slots=True)
class Expected:
    """One objective as a cost, less being better: its mean and standard deviation at each of some places, and which
    place each candidate is at. A cost that is known has a standard deviation of 0. `noise` is how far one measurement
    of it scatters, as a share of the cost; 0 where it is counted."""

    mean: Floats
    std: Floats
    places: NDArray[np.intp]
    noise: float = 0.0

    @classmethod
    def known(cls, costs: Floats) -> "Expected":
        """Return what is known of every candidate."""
        return cls(costs, np.zeros(len(costs)), np.arange(len(costs)))

    def of_candidates(self) -> Floats:
        return np.asarray(self.mean[self.places])

    def with_worst_known(self) -> "Expected":
        """Return the same with a standard deviation of 0 where the mean is the candidates' worst or beyond it."""
        return replace(self, std=np.where(self.mean >= self.of_candidates().max(), 0.0, self.std))


def expected_improvement(objectives: Sequence[Expected], boxes: Boxes) -> Floats:
    """Return the expected gain in hypervolume of every candidate, shape (c,)."""
    n_candidates, n_boxes = len(objectives[0].places), len(boxes.lower)
    step = max(1, _MOST_PRODUCTS // max(n_boxes, 1))
    # By place where these are fewer than candidates, so that each is worked out once.
    overlaps = [
        _overlap(each.mean, each.std, boxes.lower[:, index], boxes.upper[:, index]) if len(each.mean) <= step else None
        for index, each in enumerate(objectives)
    ]
    gains = np.zeros(n_candidates)
    for start in range(0, n_candidates, step):
        rows = slice(start, start + step)
        product = np.ones((len(gains[rows]), n_boxes))
        for index, (overlap, each) in enumerate(zip(overlaps, objectives, strict=True)):
            places = each.places[rows]
            if overlap is None:
                lower, upper = boxes.lower[:, index], boxes.upper[:, index]
                product *= _overlap(each.mean[places], each.std[places], lower, upper)
            else:
                product *= overlap[places]
        gains[rows] = product.sum(axis=1)
    return gains


def _overlap(mean: Floats, std: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return E[upper − max(lower, y)] where that is positive, y normal: the integral of P(y ≤ t) over a box's side."""
    return _below(mean[:, None], std[:, None], upper[None, :]) - _below(mean[:, None], std[:, None], lower[None, :])


def _below(mean: Floats, std: Floats, most: Floats) -> Floats:
    """Return E[(most − y)⁺]."""
    distance = most - mean
    spread = np.broadcast_to(np.maximum(std, 1e-12 * (np.abs(mean) + 1)), distance.shape)
    relative = distance / spread
    return np.asarray(distance * ndtr(relative) + spread * np.exp(-(relative**2) / 2) / _SQRT_2_PI)
