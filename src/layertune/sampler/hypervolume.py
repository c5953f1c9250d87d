"""The exact hypervolume of a set of points, and the boxes that they leave undominated.

All objectives are costs: less is better. Lacour, Klamroth, Fonseca: A box decomposition algorithm to compute the
hypervolume indicator, Computers & Operations Research 79, 2017.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Disjoint boxes, `lower` to `upper`, both of shape (k, m)."""

    lower: Floats
    upper: Floats


def hypervolume(costs: Floats, reference: Floats) -> float:
    """Return the volume that the points, rows of `costs` with shape (n, m), dominate up to `reference`, shape (m,).

    Points that are not better than the reference in every objective add nothing.
    """
    if len(costs) == 0:
        return 0.0
    ideal = np.minimum(costs.min(axis=0), reference)
    free = undominated_boxes(costs, reference, ideal)
    whole, missing = np.prod(reference - ideal), np.prod(free.upper - free.lower, axis=1).sum()
    return float(whole - missing)


def undominated_boxes(costs: Floats, reference: Floats, ideal: Floats) -> Boxes:
    """Return the part of the box from `ideal` to `reference`, both of shape (m,), that no point dominates.

    Each box ends at a local upper bound, whose coordinate j comes from the point j that defines it. In coordinate j the
    box begins at the largest value of the points before j (section 4 of the paper).
    """
    m = len(reference)
    bounds = reference[None, :].copy()  # local upper bounds, shape (k, m)
    # The points that define them, shape (k, m, m): point j of a bound gives its coordinate j. The first are dummies.
    defining = np.where(np.eye(m, dtype=bool), reference, ideal)[None, :, :].copy()
    for point in np.unique(costs[(costs < reference).all(axis=1)], axis=0):
        point = np.maximum(point, ideal)
        cut = (point < bounds).all(axis=1)
        if not cut.any():
            continue
        new_bounds, new_defining = [bounds[~cut]], [defining[~cut]]
        for j in range(m):
            others = [k for k in range(m) if k != j]
            # The points that define the other coordinates must not lie beyond this point here.
            least = defining[cut][:, others, j].max(axis=1) if others else np.full(cut.sum(), -np.inf)
            kept = point[j] >= least
            moved, replaced = bounds[cut][kept].copy(), defining[cut][kept].copy()
            moved[:, j], replaced[:, j, :] = point[j], point
            new_bounds.append(moved)
            new_defining.append(replaced)
        bounds, defining = np.concatenate(new_bounds), np.concatenate(new_defining)
    lower = np.repeat(ideal[None, :], len(bounds), axis=0)
    for j in range(1, m):
        lower[:, j] = np.maximum(ideal[j], defining[:, :j, j].max(axis=1))
    real = (lower < bounds).all(axis=1)
    return Boxes(lower[real], bounds[real])
