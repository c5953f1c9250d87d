"""layer-split: the sampler that knows what a layer split is."""

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
    """Optuna's face of a `Proposer`. Each proposal follows from the finished trials, the seed and the turn alone, so a
    study that was cut off goes on as if it had not been."""

    def __init__(
        self,
        space: SearchSpace,
        proposer: Proposer,
        finished: Sequence[FinishedTrial],
        running: Sequence[SplitSettings],
        seed: int,
        turn: int,
    ) -> None:
        self._space = space
        self._proposer = proposer
        self._finished = finished
        self._running = running
        self._seed = [seed, turn]
        self._random = RandomSampler(seed=seed + turn)
        self.proposal: Proposal | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if "fixed_params" in trial.system_attrs:  # a queued trial: its parameters are there
            return {}
        generator = np.random.default_rng(self._seed)
        self.proposal = self._proposer.propose(self._finished, self._running, generator)
        return {} if self.proposal is None else self._space.params(self.proposal.settings)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Only where no setting that fits is left to propose."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
