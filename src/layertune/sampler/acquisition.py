"""The acquisition function: how much each candidate is expected to add to the front of what was measured."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from layertune.sampler.candidates import unbeaten
from layertune.sampler.hypervolume import Boxes, hypervolume, undominated_boxes
from layertune.sampler.improvement import ObjectivePosterior, expected_improvement
from layertune.sampler.stopping import StoppingValue

Floats = NDArray[np.float64]

_FAR = 3.0  # standard deviations: the ideal point is so far below the means

# Boxes grow fast with points and objectives, and the candidates after the best ones add little to the total.
_MOST_MISSING = 100


class Acquisition:
    """The expected improvement of every candidate over the front of the measured settings.

    The front is that of the posterior means and not of the measurements, so a lucky measurement does not stand out. The
    reference point of the hypervolume is the worst mean of each objective.

    Args:
        objectives: the posterior of each objective; the candidates come first, then the measured settings.
        probability: how probable it is that each setting is above all floors.
        above_floors: whether the mean of each setting is above all floors.
        n_candidates: how many of the settings are candidates.
        worst_is_known: gives no value to a candidate because the worst mean of an objective may be better than it
            seems. If it is better, so is the reference point, unless another setting is worse.

    Attributes:
        gains: the expected improvement of each candidate, shape (n_candidates,).
    """

    def __init__(
        self,
        objectives: Sequence[ObjectivePosterior],
        probability: Floats,
        above_floors: NDArray[np.bool_],
        n_candidates: int,
        *,
        worst_is_known: bool = False,
    ) -> None:
        if worst_is_known:
            objectives = [each.with_worst_known() for each in objectives]
        costs = np.stack([each.of_candidates() for each in objectives], axis=1)
        spread = np.stack([each.std[each.engines] for each in objectives], axis=1)
        reference = (costs + spread if worst_is_known else costs).max(axis=0)
        ideal = (costs - _FAR * spread).min(axis=0)
        varies = reference > ideal  # an objective with one value for all settings has no influence
        varying = [each for each, varies_here in zip(objectives, varies, strict=True) if varies_here]
        self._reference, costs = reference[varies], costs[:, varies]
        noise = np.array([each.noise for each in varying])
        # The ideal point is below all means by the noise, if that is more.
        ideal = np.minimum(ideal[varies], (costs - noise * np.abs(costs)).min(axis=0))
        self._candidates, self._above_floors = costs[:n_candidates], above_floors[:n_candidates]
        measured = costs[n_candidates:][above_floors[n_candidates:]]
        self._front = measured[unbeaten(measured)] if varying else measured[:0]
        self.gains = np.zeros(n_candidates)
        self._noise = 0.0
        if varying:
            boxes = undominated_boxes(self._front, self._reference, ideal)
            self.gains = (expected_improvement(varying, boxes) * probability)[:n_candidates]
            self._noise = noise_volume(self._front, noise * np.abs(self._front), boxes)

    def is_converged(self) -> bool:
        """Say whether no candidate is expected to add more than the noise of a measurement; see `StoppingValue`."""
        best = int(np.argmax(self.gains))
        stopping_value = self.stopping_value(best)
        return self.gains[best] <= 0 if stopping_value is None else stopping_value.is_converged()

    def stopping_value(self, chosen: int) -> StoppingValue | None:
        """Return what the candidate `chosen` and all candidates may add; None if the front has no volume yet."""
        volume = hypervolume(self._front, self._reference) if len(self._front) else 0.0
        if volume <= 0:
            return None
        best = np.argsort(-self.gains, kind="stable")[:_MOST_MISSING]
        reached = np.concatenate([self._front, self._candidates[best][self._above_floors[best]]])
        whole = hypervolume(reached[unbeaten(reached)], self._reference)
        # By their means, all settings may seem to add less than the expected gain of one uncertain setting.
        missing = max(whole / volume - 1, self.gains.max() / volume)
        return StoppingValue(float(self.gains[chosen] / volume), float(missing), self._noise / volume)


def noise_volume(front: Floats, scatter: Floats, boxes: Boxes) -> float:
    """Return by how much the hypervolume grows if one point of the front is measured better by its own noise.

    It is the mean over the points. The costs of a point scatter independently, so their growths add up in quadrature.

    Args:
        front: the costs of the points, shape (n, m).
        scatter: the standard deviation of a measurement of each cost, shape (n, m).
        boxes: the region that the front does not dominate.
    """
    growths = []
    for at in range(front.shape[1]):
        moved = front.copy()
        moved[:, at] -= scatter[:, at]
        growths.append(expected_improvement([ObjectivePosterior.known(each) for each in moved.T], boxes))
    return float(np.linalg.norm(growths, axis=0).mean()) if len(front) else 0.0
