"""How much of a model's speed goes with each setting, over the trials that were measured.

Spearman's rank correlation of every numeric setting that varied with tokens/s: its square is the share of the variance
of the speeds' ranks that a line in the setting's ranks explains. Without any association it exceeds 1.96² / (n − 1)
about once in twenty (Kendall and Gibbons, Rank Correlation Methods, 1990: the variance of rho is 1 / (n − 1)).

This is no experiment: a search asks for promising settings, so settings move together, and what goes with one may be
another's doing. A fitted model of the speeds (as fANOVA's) would hide that behind more decimals.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layertune.report.source import Source

LEAST_TRIALS = 10


@dataclass(frozen=True, slots=True)
class Association:
    """`rho` is the rank correlation of `model.setting` with a speed."""

    setting: str
    rho: float

    @property
    def share(self) -> float:
        return self.rho**2


def chance_share(n: int) -> float:
    """Return the share that one setting in twenty reaches by chance."""
    return min(1.0, 1.96**2 / (n - 1))


def associations(there: list[Source], model: str) -> list[Association]:
    """Return the association of every setting that varied with the model's tokens/s in the search, the strongest first;
    empty with too few trials or without a difference in speed."""
    told = [(source, metric.median) for source in there if (metric := source.searched(model, "tokens_per_s"))]
    if len(told) < LEAST_TRIALS:
        return []
    speeds = _ranks([speed for _, speed in told])
    found = []
    for owner in told[0][0].trial.settings:
        for field, value in told[0][0].trial.settings[owner].as_dict().items():
            if not isinstance(value, int):
                continue
            values = _ranks([getattr(source.trial.settings[owner], field) for source, _ in told])
            if np.ptp(values) > 0 and np.ptp(speeds) > 0:
                found.append(Association(f"{owner}.{field}", float(np.corrcoef(values, speeds)[0, 1])))
    return sorted(found, key=lambda each: (-each.share, each.setting))


def _ranks(values: list[float]) -> NDArray[np.float64]:
    """Return ranks; equal values share the mean of theirs."""
    _, place, n_equal = np.unique(np.array(values), return_inverse=True, return_counts=True)
    last = np.cumsum(n_equal)
    shared: NDArray[np.float64] = (last - (n_equal - 1) / 2)[place]
    return shared
