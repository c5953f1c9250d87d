"""The Pareto front, as pure functions over arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from layertune.config.objective import Direction


def pareto_front(values: NDArray[np.float64], directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Return a mask of shape (n,): which of the n points, rows of `values` with shape (n, m), no other dominates.

    A point dominates another that is nowhere better and somewhere worse (Deb, Multi-Objective Optimization using
    Evolutionary Algorithms, 2001, definition 2.5). Equal points do not dominate each other, so all of them stay.
    """
    signs = np.array([1.0 if direction == "minimize" else -1.0 for direction in directions])
    costs = values * signs
    no_worse = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    better = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    dominated: NDArray[np.bool_] = (no_worse & better).any(axis=0)
    return ~dominated
