"""Optuna's samplers by name."""

import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from layertune.config.study import SamplerName
from layertune.errors import UsageError
from layertune.search.gp_sampler import FittingGpSampler
from layertune.search.space import Params

# Optuna's own population of 50 would make a study of 40 trials a random search: no generation would ever end.
_POPULATION = 12

# Optuna imports these only when the sampler first models the trials, ten trials into the study.
_GP_PACKAGES = ("scipy", "torch")


class Nsga2Sampler(NSGAIISampler):
    """NSGA-II whose parents always come in the order of their trials, on which the children depend.

    Optuna's gives them best first to the trial that selects them, and by number to the others, which read the selection
    from the study. A kill between the two would turn the one into the other.
    """

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().select_parent(study, generation), key=lambda trial: trial.number)


@contextmanager
def accepting_experimental() -> Iterator[None]:
    """Use Optuna's features that it still calls experimental, multivariate TPE and metric names among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def make_sampler(name: SamplerName, seed: int, turn: int, untried: Iterable[Params] = ()) -> BaseSampler:
    """Return the sampler of one turn of a study: a fresh one each turn, seeded with the study's seed and the turn.

    A sampler kept over the study would start its random numbers anew after a resume and repeat its first proposals.
    Made anew, the same finished trials lead to the same next trial, whether the study was cut off in between or not.
    The grid is not a sampler: the study queues the space itself, setting by setting. Nor is layer-split made here: it
    needs to know what fits, and where nobody does, it is no better than tpe. `untried` are the parameters that gp
    chooses among: what may run and has not, in an order that follows from the seed and the turn.

    Raises:
        UsageError: a package that this sampler needs is not installed.
    """
    turn_seed = random.Random(f"{seed} {turn}").getrandbits(32)
    makers: dict[SamplerName, Callable[[], BaseSampler]] = {
        "layer-split": lambda: TPESampler(seed=turn_seed, multivariate=True),
        "tpe": lambda: TPESampler(seed=turn_seed, multivariate=True),
        "gp": lambda: _gp(turn_seed, untried),
        "nsga2": lambda: Nsga2Sampler(seed=turn_seed, population_size=_POPULATION),
        "random": lambda: RandomSampler(seed=turn_seed),
        "grid": lambda: RandomSampler(seed=turn_seed),  # asked only where another machine took what was queued
    }
    with accepting_experimental():
        return makers[name]()


def _gp(seed: int, untried: Iterable[Params]) -> BaseSampler:
    try:
        for package in _GP_PACKAGES:
            import_module(package)
    except ImportError as error:
        raise UsageError(
            f"the sampler gp needs a package that is not here: {error.name}",
            remedy=f"install it with: pip install {' '.join(_GP_PACKAGES)}; or choose --sampler tpe",
        ) from error
    return FittingGpSampler(seed, untried)
