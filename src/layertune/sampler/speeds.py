"""The posterior of one model's speeds: of the two times that are modelled, all speeds of a workload follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from layertune.config.model_config import Workload
from layertune.config.objective import AT_DEPTH
from layertune.sampler.time_model import Floats, Times


@dataclass(frozen=True, slots=True)
class Posterior:
    """The posterior of one quantity of every engine, as a cost (less is better): mean and standard deviation."""

    mean: Floats
    std: Floats


@dataclass(frozen=True, slots=True)
class Speeds:
    """The posterior of the times of every engine.

    Attributes:
        workload: how many tokens are read and generated.
        prompt: seconds of the whole prompt.
        token: seconds of each generated token; without any of them, of the prompt, and not used.
        contention: how many times as long the workload takes while all models run: mean and standard deviation of the
            logarithm.
        noise: the relative noise of a measurement.
        at_depth: seconds of each token at full context and of a turn, by the objectives that name them.
    """

    workload: Workload
    prompt: Times
    token: Times
    contention: tuple[float, float]
    noise: float
    at_depth: Mapping[str, Times] = field(default_factory=dict)

    def workload_s(self) -> Floats:
        """Return the mean seconds of the whole workload."""
        return self.prompt.mean_s + self.workload.n_generate * self.token.mean_s

    def slowest_s(self, row: int) -> float:
        """Return the seconds of one engine's workload, two standard deviations of each part over their means."""
        prompt_s, token_s = (each.mean_s[row] + 2 * each.std_s[row] for each in (self.prompt, self.token))
        return float(prompt_s + self.workload.n_generate * token_s)

    def posterior(self, quantity: str) -> Posterior:
        """Return the posterior of a speed or a time that an objective may name, as a cost."""
        n_generate = self.workload.n_generate
        if quantity == "ttft_s":
            return Posterior(self.prompt.mean_s, self.prompt.std_s)
        if quantity == "tpot_s":
            return Posterior(self.token.mean_s, self.token.std_s)
        if quantity == "pp_tokens_per_s":
            return _rate(self.workload.n_prompt, self.prompt.mean_s, self.prompt.std_s)
        if quantity == "tg_tokens_per_s":
            return _rate(1, self.token.mean_s, self.token.std_s)
        if quantity in AT_DEPTH:
            times = self.at_depth[quantity]
            return Posterior(times.mean_s, times.std_s) if quantity == "turn_s" else _rate(1, times.mean_s, times.std_s)
        std_s = np.hypot(self.prompt.std_s, n_generate * self.token.std_s)
        alone = _rate(self.workload.n_counted, self.workload_s(), std_s)
        if quantity == "tokens_per_s":
            return alone
        longer, spread = self.contention
        together = alone.mean * np.exp(-longer)
        return Posterior(together, np.abs(together) * np.hypot(alone.std / np.abs(alone.mean), spread))


def _rate(n_tokens: int, mean_s: Floats, std_s: Floats) -> Posterior:
    """Return tokens per second as a cost, with its standard deviation to first order."""
    rate = n_tokens / mean_s
    return Posterior(-rate, rate * std_s / mean_s)
