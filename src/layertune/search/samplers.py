"""Optuna's samplers, by layertune's short names or by import path."""

import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from layertune.errors import UsageError

# Called with a seed.
SamplerFactory = Callable[[int], BaseSampler]


@contextmanager
def accepting_experimental() -> Iterator[None]:
    """Use Optuna's features that it still calls experimental, multivariate TPE and metric names among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def sampler_factory(name: str) -> SamplerFactory:
    """Return what makes the samplers of a study.

    `layer-split` itself is not made here, since it needs to know which settings fit. If memory cannot be planned, it
    searches as `tpe` does.

    Args:
        name: `layer-split`, `tpe`, `random`, or the import path of a sampler class, such as
            `optuna.samplers.GPSampler`. The class is called with `seed` where it takes one, else without arguments.

    Raises:
        UsageError: the path leads to no sampler, or a package that it needs is not installed.
    """
    makers: dict[str, SamplerFactory] = {
        "layer-split": lambda seed: TPESampler(seed=seed, multivariate=True),
        "tpe": lambda seed: TPESampler(seed=seed, multivariate=True),
        "random": lambda seed: RandomSampler(seed=seed),
    }
    return makers.get(name) or _imported(name)


def sampler_of(make: SamplerFactory, seed: int, n_asked: int) -> BaseSampler:
    """Return a new sampler for the next trial, seeded with the study's seed and the number of trials asked for so far.

    A sampler that is kept for the whole study would repeat its first random numbers after a resume. A new one for each
    trial proposes the same trial whether the study was interrupted or not.
    """
    with accepting_experimental():
        return make(random.Random(f"{seed} {n_asked}").getrandbits(32))


def _imported(path: str) -> SamplerFactory:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"the sampler {path} cannot be imported: {error}",
            remedy="give the import path of an Optuna sampler, such as optuna.samplers.GPSampler",
        ) from error
    if not (inspect.isclass(found) and issubclass(found, BaseSampler)):
        raise UsageError(f"{path} is no sampler of Optuna", remedy="give a subclass of optuna.samplers.BaseSampler")
    takes_seed = "seed" in inspect.signature(found).parameters

    def make(seed: int) -> BaseSampler:
        arguments: dict[str, Any] = {"seed": seed} if takes_seed else {}
        try:
            return found(**arguments)
        except (ImportError, TypeError, ValueError) as error:
            raise UsageError(
                f"the sampler {path} cannot be made: {error}", remedy="choose one that needs no arguments but a seed"
            ) from error

    return make
