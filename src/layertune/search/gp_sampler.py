"""gp: Optuna's sampler by Gaussian processes, which chooses among what fits here."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import GPSampler

from layertune.search.space import Params

_MOST_CANDIDATES = 2048  # as many points as Optuna's own search would begin with
_BLOCK = 512  # points whose gain is reckoned at once: each takes some 100 KB


class FittingGpSampler(GPSampler):
    """Optuna's gp, which takes of `untried`, in random order, the setting that promises most.

    Optuna's own search knows no plan: what does not fit is never run, so it learns nothing of it, and proposes it again
    and again.
    """

    def __init__(self, seed: int, untried: Iterable[Params]) -> None:
        super().__init__(seed=seed)
        self._untried = untried

    def _optimize_acqf(self, acqf: Any, best_params: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return the best point in Optuna's normalized parameters, shape (dimensions,).

        To override this is what Optuna says "advanced users" can do; it does not promise to keep it.
        """
        candidates = list(islice(self._untried, _MOST_CANDIDATES))
        if not candidates:
            return super()._optimize_acqf(acqf, best_params)
        # Of the trials, its first argument, this counts only how many there are.
        points = acqf.search_space.get_normalized_params(candidates, candidates)
        blocks = [points[start : start + _BLOCK] for start in range(0, len(points), _BLOCK)]
        gains = np.concatenate([acqf.eval_acqf_no_grad(block) for block in blocks])
        best: NDArray[np.float64] = points[gains.argmax()]
        return best
