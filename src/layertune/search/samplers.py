"""Optuna's samplers by name."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from layertune.config.study import SamplerName
from layertune.errors import UsageError
from layertune.search.grid import ShuffledGridSampler
from layertune.search.space import SearchSpace


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
        "gp": lambda: GPSampler(seed=seed),
        "nsga2": lambda: NSGAIISampler(seed=seed),
        "random": lambda: RandomSampler(seed=seed),
        "grid": lambda: ShuffledGridSampler(space, seed),
    }
    try:
        with accepting_experimental():
            return makers[name]()
    except ImportError as error:
        raise UsageError(
            f"the sampler {name} needs a package that is not here: {error.name}",
            remedy="install it with: pip install torch scipy" if name == "gp" else "choose --sampler tpe",
        ) from error
