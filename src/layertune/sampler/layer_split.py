"""The sampler `layer-split`, as Optuna calls it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from layertune.results.trials import FinishedTrial
from layertune.sampler.distributions import distributions
from layertune.sampler.proposer import Proposal, Proposer
from layertune.settings import SplitSettings
from layertune.space.search_space import SearchSpace


class LayerSplitSampler(BaseSampler):
    """An Optuna sampler that proposes one trial, by a `Proposer`.

    The proposal depends only on the finished and running trials, the seed, and `n_asked`, the number of trials that
    were asked for so far. So a study that was interrupted continues with the same trials as one that was not.
    """

    def __init__(
        self,
        space: SearchSpace,
        proposer: Proposer,
        finished: Sequence[FinishedTrial],
        running: Sequence[SplitSettings],
        capacities: Sequence[int],
        seed: int,
        n_asked: int,
    ) -> None:
        self._space = space
        self._proposer = proposer
        self._finished = finished
        self._running = running
        self._capacities = capacities
        self._seed = [seed, n_asked]
        self._random = RandomSampler(seed=seed + n_asked)
        self.proposal: Proposal | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if "fixed_params" in trial.system_attrs:  # a queued trial has its parameters already
            return {}
        generator = np.random.default_rng(self._seed)
        self.proposal = self._proposer.propose(self._finished, self._running, self._capacities, generator)
        return {} if self.proposal is None else self._space.params(self.proposal.settings)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Used only if every setting that fits has been proposed."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
