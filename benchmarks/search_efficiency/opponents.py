"""Samplers that only this benchmark needs, to compare layer-split with."""

from collections.abc import Callable
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from layertune.errors import UsageError
from layertune.space.feasible import FeasibleSpace
from layertune.space.search_space import SearchSpace

# Optuna's own population of 50 would make a study of 40 trials a random search: no generation would ever end.
_POPULATION = 12

_MAX_CANDIDATES = 2048  # as many points as Optuna's own search of the acquisition function begins with
_BLOCK = 512  # points that are evaluated at once: each takes about 100 KB


def nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed, population_size=_POPULATION)


def gp(space: SearchSpace, feasible: FeasibleSpace | None) -> Callable[[int], BaseSampler]:
    """Return what makes Gaussian process samplers that choose among the untried settings that fit.

    Raises:
        UsageError: torch, which Optuna's sampler needs, is not installed.
    """
    try:
        import_module("torch")
    except ImportError as error:
        raise UsageError("Optuna's GPSampler needs torch", remedy="pip install torch") from error
    return lambda seed: FittingGpSampler(seed, space, feasible)


class FittingGpSampler(GPSampler):
    """Optuna's GPSampler, restricted to settings that fit and that no trial has measured.

    Unrestricted, it proposes settings that do not fit again and again: they are never run, so it learns nothing.
    """

    def __init__(self, seed: int, space: SearchSpace, feasible: FeasibleSpace | None) -> None:
        super().__init__(seed=seed)
        self._walk = (feasible or space).shuffled(seed)
        self._space = space
        self._tried: set[Any] = set()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        others = (each for each in study.get_trials(deepcopy=False) if each.number != trial.number)
        self._tried = {self._space.canonical(self._space.settings(each.params)) for each in others}
        return super().sample_relative(study, trial, search_space)

    def _optimize_acqf(self, acqf: Any, best_params: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return the best point in Optuna's normalized parameters, shape (dimensions,).

        Optuna names this method as one that "advanced users" may override; it does not promise to keep it.
        """
        untried = (each for each in self._walk if self._space.canonical(each) not in self._tried)
        candidates = [self._space.params(each) for each in islice(untried, _MAX_CANDIDATES)]
        if not candidates:
            return super()._optimize_acqf(acqf, best_params)
        # Its first argument are the trials, of which it reads only how many there are.
        points = acqf.search_space.get_normalized_params(candidates, candidates)
        blocks = [points[start : start + _BLOCK] for start in range(0, len(points), _BLOCK)]
        gains = np.concatenate([acqf.eval_acqf_no_grad(block) for block in blocks])
        best: NDArray[np.float64] = points[gains.argmax()]
        return best
