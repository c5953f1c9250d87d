"""How far off a prediction is: every split that was measured is held back once and predicted from all others.

A split is all engines of a model with as many layers on the device: its batches and repetitions are near copies.
Knowing one of them would make the others look easy, and each of them would count as one more proof, so a split is held
back whole and has one score, the worst of its engines'.

The intervals are leave-one-split-out intervals in the manner of the jackknife, with scores in units of the prediction's
own spread (Lei et al., Journal of the American Statistical Association 113, 2018, has both). No theorem promises their
level here: splits would have to be exchangeable, and a search chooses them, and without further conditions the
jackknife has no promise at all (Barber et al., Annals of Statistics 49, 2021). `coverage` counts what they cover.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from statistics import median

import numpy as np
from numpy.typing import NDArray

from layertune.search.speeds import ModelEngines, Speeds
from layertune.settings import EngineSettings
from layertune.trial.outcome import ModelSamples

QUANTITIES = ("tokens_per_s", "pp_tokens_per_s", "tg_tokens_per_s")

_LEVEL = 0.9
_NORMAL = 1.6449  # the normal distribution's 95 % quantile: a bar of 90 % is at least what the model itself believes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """One engine's figure in tokens/s: as predicted without its split, and as it was measured. `spread` is how unsure
    the prediction is by its own account, a standard deviation of its logarithm."""

    model: str
    settings: EngineSettings
    quantity: str
    expected: float
    spread: float
    measured: float

    @property
    def error(self) -> float:
        """The prediction's relative error, signed."""
        return self.expected / self.measured - 1

    @property
    def score(self) -> float:
        return abs(log(self.expected / self.measured)) / self.spread


@dataclass(frozen=True, slots=True)
class Without:
    """A model's speeds by all trials but those of one split, and what that split came to."""

    model: str
    split: tuple[int, int]
    speeds: Speeds
    held_back: tuple[HeldBack, ...]

    def score(self, quantity: str) -> float:
        """Return the worst score of the split's engines."""
        return max(each.score for each in self.held_back if each.quantity == quantity)


def hold_back(name: str, model: ModelEngines, measured: Sequence[tuple[int, ModelSamples]]) -> Iterator[Without]:
    """Yield every split of one model held back; nothing where there is only one. `measured` has rows and samples."""
    splits = dict.fromkeys(split_of(model.engines[row]) for row, _ in measured)
    if len(splits) < 2:
        return
    for split in splits:
        speeds = model.learn([each for each in measured if split_of(model.engines[each[0]]) != split])
        by_row: dict[int, list[ModelSamples]] = {}
        for row, samples in measured:
            if split_of(model.engines[row]) == split:
                by_row.setdefault(row, []).append(samples)
        yield Without(name, split, speeds, tuple(_held_back(name, model, speeds, by_row)))


def rates(speeds: Speeds, quantity: str) -> Floats:
    """Return every engine's tokens/s."""
    return -speeds.figure(quantity).mean


def spreads(speeds: Speeds, quantity: str) -> Floats:
    """Return how unsure each is to be measured as expected: what is not known of it, and a measurement's noise."""
    figure = speeds.figure(quantity)
    return np.hypot(figure.std / np.abs(figure.mean), speeds.noise)


def level_of(n_splits: int) -> float:
    """Return the share of new splits that the largest of `n_splits` scores would hold if all were drawn alike, 90 % at
    most: what intervals are made for."""
    return min(_LEVEL, n_splits / (n_splits + 1))


def bar_factor(scores: Sequence[float]) -> float:
    """Return by how many spreads an interval reaches, from the scores of held-back splits. Never less than the model
    believes of itself."""
    return max(_NORMAL, quantile(scores))


def quantile(values: Sequence[float]) -> float:
    """Return the least of the values that holds the level of as many; the largest where they are too few for 90 %."""
    return sorted(values)[min(ceil((len(values) + 1) * _LEVEL), len(values)) - 1]


def coverage(scores: Sequence[float]) -> float:
    """Return the share of held-back splits that are wholly inside intervals made without them."""
    inside = [score <= bar_factor([*scores[:place], *scores[place + 1 :]]) for place, score in enumerate(scores)]
    return sum(inside) / len(inside)


def reaches(expected: float, spread: float, factor: float) -> tuple[float, float]:
    """Return both ends of the interval."""
    return expected * exp(-factor * spread), expected * exp(factor * spread)


def _held_back(
    name: str, model: ModelEngines, speeds: Speeds, by_row: Mapping[int, Sequence[ModelSamples]]
) -> Iterator[HeldBack]:
    for quantity in QUANTITIES:
        expected, spread = rates(speeds, quantity), spreads(speeds, quantity)
        for row, samples in by_row.items():
            measured = median(measured_rate(model, each, quantity) for each in samples)
            yield HeldBack(
                name, model.engines[row], quantity, float(expected[row]), float(spread[row]), float(measured)
            )


def measured_rate(model: ModelEngines, samples: ModelSamples, quantity: str) -> float:
    """Return what one trial measured, in tokens/s."""
    if quantity == "tokens_per_s":
        return model.workload.n_generate / model.workload_s(samples)
    return median(samples.pp_tokens_per_s if quantity == "pp_tokens_per_s" else samples.tg_tokens_per_s)


def split_of(engine: EngineSettings) -> tuple[int, int]:
    """Return the layers on the device, and of how many the experts are kept on the host."""
    return engine.n_gpu_layers, engine.n_cpu_moe
