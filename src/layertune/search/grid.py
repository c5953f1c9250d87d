"""Every setting of the space once, in a seeded random order."""

import random
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from layertune.search.space import SearchSpace


class ShuffledGridSampler(BaseSampler):
    """Optuna's own GridSampler stops the study itself, which ask-and-tell does not allow."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._order = [space.params(settings) for settings in space.enumerate()]
        random.Random(seed).shuffle(self._order)
        self._fallback = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._space.distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        visited = [each.params for each in study.get_trials(deepcopy=False) if each.state != TrialState.WAITING]
        return next((params for params in self._order if params not in visited), self._order[0])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._fallback.sample_independent(study, trial, param_name, param_distribution)
