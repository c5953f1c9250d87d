"""How the front grew: the hypervolume after every trial."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layertune.config.objective import Objective
from layertune.results.pareto import pareto_front
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import recorded_value
from layertune.sampler.hypervolume import hypervolume


@dataclass(frozen=True, slots=True)
class Growth:
    """The share of the box between the worst and the best that was measured of each objective, which the trials up to
    each one dominate. `objectives` are those that have more than one value."""

    objectives: tuple[str, ...]
    shares: tuple[float, ...]


def growth(result: Result) -> Growth | None:
    """Return the growth over all trials in the order of their numbers; None where a figure of a measured trial or all
    difference is missing.

    A finalist counts with what the search measured first, as all others: the finals' figures came after the search.
    """
    objectives = [Objective(each.name, each.direction) for each in result.objectives]
    trials = sorted(result.trials, key=lambda trial: trial.number)
    costs = {trial.number: _costs(trial, objectives) for trial in trials if trial.state == "measured"}
    if not costs or any(np.isnan(each).any() for each in costs.values()):
        return None
    whole = np.array(list(costs.values()))
    worst, best = whole.max(axis=0), whole.min(axis=0)
    kept = worst > best
    if not kept.any():
        return None
    shares, front = list[float](), np.empty((0, int(kept.sum())))
    for trial in trials:
        if trial.number in costs and not trial.exceeded():
            point = (costs[trial.number] - best)[kept] / (worst - best)[kept]
            front = _without_dominated(np.vstack([front, point]))
        shares.append(hypervolume(front, np.ones(front.shape[1])))
    return Growth(tuple(each.name for each, keeps in zip(objectives, kept, strict=True) if keeps), tuple(shares))


def _without_dominated(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    kept: NDArray[np.float64] = costs[pareto_front(costs, ["minimize"] * costs.shape[1])]
    return kept


def _costs(trial: TrialInfo, objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return a trial's objectives, less being better; NaN stands for a figure that is missing."""
    values = [recorded_value(trial, each, trial.metrics_of("search")) for each in objectives]
    return np.array(values, dtype=np.float64) * [-1 if each.direction == "maximize" else 1 for each in objectives]
