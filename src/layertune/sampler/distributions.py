"""The searched dimensions as Optuna's distributions."""

from itertools import pairwise

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from layertune.space.search_space import Dimension, SearchSpace


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the distribution of every dimension that is searched, by the dimension's name."""
    return {each.name: distribution(each) for each in space.searched}


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return an integer range for evenly spaced, rising numbers, so that samplers use their order; else categories."""
    values = dimension.values
    if all(isinstance(value, int) for value in values):
        steps = {high - low for low, high in pairwise(values)}
        if len(steps) == 1 and (step := steps.pop()) > 0:
            return IntDistribution(values[0], values[-1], step=step)
    return CategoricalDistribution(values)
