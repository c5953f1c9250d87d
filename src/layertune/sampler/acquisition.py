"""What measuring each candidate may add to the front of what was measured, by what the model expects of all of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from layertune.sampler.candidates import unbeaten
from layertune.sampler.hypervolume import Boxes, hypervolume, undominated_boxes
from layertune.sampler.improvement import Expected, expected_improvement
from layertune.sampler.stopping import Outlook

Floats = NDArray[np.float64]

_FAR = 3.0  # standard deviations: what nothing is expected to be better than

# Boxes grow fast with points and objectives, and what is missing hardly does beyond the most promising ones.
_MOST_MISSING = 100


class Prospects:
    """`expected` are the objectives of the candidates and, after these, of the measured settings; `chance` is how
    probable each is above all floors, `reaches` whether it is by its means. `gains` are the candidates' expected
    improvements of the hypervolume.

    The front is that of the means, not of the figures: who was lucky does not stand out. The hypervolume begins at the
    worst mean, and what may be better than that by its uncertainty alone is worth something. Not so with
    `worst_is_known`: were the worst better, so would be where the hypervolume begins, unless something else is worse.
    """

    def __init__(
        self,
        expected: Sequence[Expected],
        chance: Floats,
        reaches: NDArray[np.bool_],
        n_candidates: int,
        *,
        worst_is_known: bool = False,
    ) -> None:
        if worst_is_known:
            expected = [each.with_worst_known() for each in expected]
        costs = np.stack([each.of_candidates() for each in expected], axis=1)
        spread = np.stack([each.std[each.places] for each in expected], axis=1)
        reference = (costs + spread if worst_is_known else costs).max(axis=0)
        ideal = (costs - _FAR * spread).min(axis=0)
        tells = reference > ideal  # an objective that is the same everywhere tells nothing apart
        told = [each for each, tell in zip(expected, tells, strict=True) if tell]
        self._reference, costs = reference[tells], costs[:, tells]
        noise = np.array([each.noise for each in told])
        ideal = np.minimum(ideal[tells], (costs - noise * np.abs(costs)).min(axis=0))  # as far as noise may reach
        self._candidates, self._reaches = costs[:n_candidates], reaches[:n_candidates]
        measured = costs[n_candidates:][reaches[n_candidates:]]
        self._front = measured[unbeaten(measured)] if told else measured[:0]
        self.gains = np.zeros(n_candidates)
        self._noise = 0.0
        if told:
            boxes = undominated_boxes(self._front, self._reference, ideal)
            self.gains = (expected_improvement(told, boxes) * chance)[:n_candidates]
            self._noise = noise_volume(self._front, noise * np.abs(self._front), boxes)

    def is_calm(self) -> bool:
        """Say whether no candidate is expected to add more than the noise of a measurement does."""
        best = int(np.argmax(self.gains))
        outlook = self.outlook(best)
        return self.gains[best] <= 0 if outlook is None else outlook.calm()

    def outlook(self, chosen: int) -> Outlook | None:
        """Return what the candidate `chosen` and all of them may bring; None where the front has no volume yet."""
        volume = hypervolume(self._front, self._reference) if len(self._front) else 0.0
        if volume <= 0:
            return None
        best = np.argsort(-self.gains, kind="stable")[:_MOST_MISSING]
        reached = np.concatenate([self._front, self._candidates[best][self._reaches[best]]])
        whole = hypervolume(reached[unbeaten(reached)], self._reference)
        # By its means all of it may seem to add less than one setting that nobody knows is expected to.
        missing = max(whole / volume - 1, self.gains.max() / volume)
        return Outlook(float(self.gains[chosen] / volume), float(missing), self._noise / volume)


def noise_volume(front: Floats, scatter: Floats, boxes: Boxes) -> float:
    """Return by how much the hypervolume grows where a measurement of one point of the front is better by its own
    standard deviation: `scatter` of each cost, both of shape (n, m), in the mean of the points.

    The costs scatter independently, so the growths by each of them add up as standard deviations do.
    """
    growths = []
    for at in range(front.shape[1]):
        moved = front.copy()
        moved[:, at] -= scatter[:, at]
        growths.append(expected_improvement([Expected.known(each) for each in moved.T], boxes))
    return float(np.linalg.norm(growths, axis=0).mean()) if len(front) else 0.0
