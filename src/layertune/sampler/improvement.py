"""The expected improvement: how much hypervolume a trial is expected to add.

Emmerich, Deutz, Klinkenberg: Hypervolume-based expected improvement, IEEE CEC 2011. The region that the front does not
dominate is split into disjoint boxes. In each box, the expected overlap with the region that the trial would dominate
is a product over the objectives, if these are independent.

Speeds of different models are independent. For two objectives of one model, such as tokens/s and TTFT, the product is
an approximation: both depend on the time of the same prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from layertune.sampler.hypervolume import Boxes

Floats = NDArray[np.float64]

_MOST_PRODUCTS = 4_000_000  # candidates times boxes, so that a proposal takes milliseconds
_SQRT_2_PI = np.sqrt(2 * np.pi)


@dataclass(frozen=True, slots=True)
class ObjectivePosterior:
    """The posterior of one objective, as a cost (less is better), for all candidates.

    Several candidates may share an engine, so mean and standard deviation are those of engines, or of other values that
    candidates share.

    Attributes:
        mean: of each engine, shape (k,).
        std: of each engine, shape (k,); 0 if the cost is known.
        engines: for each candidate, the index of its engine, shape (c,).
        noise: the standard deviation of one measurement, as a share of the cost; 0 if the cost is not measured.
    """

    mean: Floats
    std: Floats
    engines: NDArray[np.intp]
    noise: float = 0.0

    @classmethod
    def known(cls, costs: Floats) -> "ObjectivePosterior":
        """Return the posterior of known costs, one for each candidate."""
        return cls(costs, np.zeros(len(costs)), np.arange(len(costs)))

    def of_candidates(self) -> Floats:
        """Return the mean of every candidate, shape (c,)."""
        return np.asarray(self.mean[self.engines])

    def with_worst_known(self) -> "ObjectivePosterior":
        """Return the same with a standard deviation of 0 where the mean is at least the worst candidate's."""
        return replace(self, std=np.where(self.mean >= self.of_candidates().max(), 0.0, self.std))


def expected_improvement(objectives: Sequence[ObjectivePosterior], boxes: Boxes) -> Floats:
    """Return the expected gain in hypervolume of every candidate, shape (c,)."""
    n_candidates, n_boxes = len(objectives[0].engines), len(boxes.lower)
    step = max(1, _MOST_PRODUCTS // max(n_boxes, 1))
    # Once for each engine, where there are few engines; else for the candidates of one step at a time.
    overlaps = [
        _overlap(each.mean, each.std, boxes.lower[:, index], boxes.upper[:, index]) if len(each.mean) <= step else None
        for index, each in enumerate(objectives)
    ]
    gains = np.zeros(n_candidates)
    for start in range(0, n_candidates, step):
        rows = slice(start, start + step)
        product = np.ones((len(gains[rows]), n_boxes))
        for index, (overlap, each) in enumerate(zip(overlaps, objectives, strict=True)):
            engines = each.engines[rows]
            if overlap is None:
                lower, upper = boxes.lower[:, index], boxes.upper[:, index]
                product *= _overlap(each.mean[engines], each.std[engines], lower, upper)
            else:
                product *= overlap[engines]
        gains[rows] = product.sum(axis=1)
    return gains


def _overlap(mean: Floats, std: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return E[upper − max(lower, y)]⁺ for normal y: the integral of P(y ≤ t) over a box's side."""
    return _below(mean[:, None], std[:, None], upper[None, :]) - _below(mean[:, None], std[:, None], lower[None, :])


def _below(mean: Floats, std: Floats, most: Floats) -> Floats:
    """Return E[(most − y)⁺]."""
    distance = most - mean
    spread = np.broadcast_to(np.maximum(std, 1e-12 * (np.abs(mean) + 1)), distance.shape)
    relative = distance / spread
    return np.asarray(distance * ndtr(relative) + spread * np.exp(-(relative**2) / 2) / _SQRT_2_PI)
