"""The candidates of a proposal: every combination of the models' engines that fits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from layertune.sampler.speeds import Posterior

Rows = NDArray[np.intp]

_MOST_PAIRS = 2_000_000
_MOST_CANDIDATES = 20_000


def combinations(
    device_bytes: Sequence[NDArray[np.int64]],
    kept: Sequence[Rows],
    capacities: Sequence[int],
    generator: np.random.Generator,
) -> Rows:
    """Return the combinations of rows that fit, shape (c, number of models).

    Args:
        device_bytes: for each model, the bytes of its engines on each device, shape (n, devices).
        kept: for each model, the rows to combine.
        capacities: what all models together may take of each device, in bytes.
        generator: chooses a random part of the combinations where there are very many.
    """
    found = np.zeros((1, 0), dtype=np.intp)
    taken = np.zeros((1, len(capacities)), dtype=np.int64)
    for model, rows in enumerate(kept):
        left = np.array(capacities, dtype=np.int64)
        for other in range(model + 1, len(kept)):
            left -= device_bytes[other][kept[other]].min(axis=0)
        if len(found) * len(rows) > _MOST_PAIRS:
            some = generator.choice(len(found), max(1, _MOST_PAIRS // len(rows)), replace=False)
            found, taken = found[some], taken[some]
        added = device_bytes[model][rows]
        # One device after the other: a sum over so short an axis is slow.
        fits = np.ones((len(taken), len(rows)), dtype=bool)
        for device, left_bytes in enumerate(left):
            fits &= taken[:, device, None] + added[None, :, device] <= left_bytes
        before, here = np.nonzero(fits)
        found = np.concatenate([found[before], rows[here][:, None]], axis=1)
        taken = taken[before] + added[here]
    if len(found) > _MOST_CANDIDATES:
        found = found[generator.choice(len(found), _MOST_CANDIDATES, replace=False)]
    return found


def possibly_on_front(device_bytes: NDArray[np.int64], posteriors: Sequence[Posterior]) -> Rows:
    """Return the rows of one model's engines that may be part of a front: no other engine clearly beats them.

    An engine clearly beats another if it needs no more of any device, is nowhere worse, and is better somewhere. Its
    own costs count one standard deviation worse than their mean, those of the other engine one better.

    Args:
        device_bytes: the bytes of each engine on each device, shape (n, devices).
        posteriors: the posteriors of the model's objectives.
    """
    worst = np.stack([each.mean + each.std for each in posteriors], axis=1)
    best = np.stack([each.mean - each.std for each in posteriors], axis=1)
    kept = np.ones(len(device_bytes), dtype=bool)
    for champion in np.argsort(worst.sum(axis=1)):
        if kept[champion]:
            better = (worst[champion] <= best).all(axis=1) & (worst[champion] < best).any(axis=1)
            kept &= ~(better & (device_bytes >= device_bytes[champion]).all(axis=1))
    return np.flatnonzero(kept)


def unbeaten(costs: NDArray[np.float64]) -> Rows:
    """Return the rows of `costs`, shape (n, m), that no other row dominates; of equal rows, the first."""
    order = np.lexsort(costs.T[::-1])
    left = order
    front: list[int] = []
    while len(left):
        first, left = left[0], left[1:]
        front.append(int(first))
        left = left[(costs[left] < costs[first]).any(axis=1)]
    return np.array(sorted(front), dtype=np.intp)
