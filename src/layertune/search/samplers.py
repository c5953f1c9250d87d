"""Optuna's samplers by name."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from layertune.config.study import SamplerName
from layertune.errors import UsageError
from layertune.search.grid import ShuffledGridSampler
from layertune.search.space import SearchSpace

# Optuna's own population of 50 would make a study of 40 trials a random search: no generation would ever end.
_POPULATION = 12

# Optuna imports these only when the sampler first models the trials, ten trials into the study.
_GP_PACKAGES = ("scipy", "torch")


@contextmanager
def accepting_experimental() -> Iterator[None]:
    """Use Optuna's features that it still calls experimental, multivariate TPE and metric names among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def make_sampler(name: SamplerName, space: SearchSpace, seed: int) -> BaseSampler:
    """Return a seeded sampler; the same finished trials lead it to the same next trial.

    Raises:
        UsageError: a package that this sampler needs is not installed.
    """
    makers: dict[SamplerName, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(seed=seed, multivariate=True),
        "gp": lambda: _gp(seed),
        "nsga2": lambda: NSGAIISampler(seed=seed, population_size=_POPULATION),
        "random": lambda: RandomSampler(seed=seed),
        "grid": lambda: ShuffledGridSampler(space, seed),
    }
    with accepting_experimental():
        return makers[name]()


def _gp(seed: int) -> BaseSampler:
    try:
        for package in _GP_PACKAGES:
            import_module(package)
    except ImportError as error:
        raise UsageError(
            f"the sampler gp needs a package that is not here: {error.name}",
            remedy=f"install it with: pip install {' '.join(_GP_PACKAGES)}; or choose --sampler tpe",
        ) from error
    return GPSampler(seed=seed)
