"""How far off a prediction is: every split that was measured is held back once and predicted from all others.

A split is all engines of a model with as many layers on the device: its batches and repetitions are near copies, and
knowing one of them would make the others look easy.
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

    def covered(self, factor: float) -> bool:
        return self.score <= factor


@dataclass(frozen=True, slots=True)
class Without:
    """A model's speeds by all trials but those of one split, and what that split came to."""

    model: str
    split: tuple[int, int]
    speeds: Speeds
    held_back: tuple[HeldBack, ...]


def hold_back(name: str, model: ModelEngines, measured: Sequence[tuple[int, ModelSamples]]) -> Iterator[Without]:
    """Yield every split of one model held back; nothing where there is only one. `measured` has rows and samples."""
    splits = dict.fromkeys(_split(model.engines[row]) for row, _ in measured)
    if len(splits) < 2:
        return
    for split in splits:
        speeds = model.learn([each for each in measured if _split(model.engines[each[0]]) != split])
        by_row: dict[int, list[ModelSamples]] = {}
        for row, samples in measured:
            if _split(model.engines[row]) == split:
                by_row.setdefault(row, []).append(samples)
        yield Without(name, split, speeds, tuple(_held_back(name, model, speeds, by_row)))


def rates(speeds: Speeds, quantity: str) -> Floats:
    """Return every engine's tokens/s."""
    return -speeds.figure(quantity).mean


def spreads(speeds: Speeds, quantity: str) -> Floats:
    """Return how unsure each is to be measured as expected: what is not known of it, and a measurement's noise."""
    figure = speeds.figure(quantity)
    return np.hypot(figure.std / np.abs(figure.mean), speeds.noise)


def bar_factor(scores: Sequence[float], level: float) -> float:
    """Return by how many spreads an interval has to reach so that it holds a new score with probability `level`.

    The split-conformal quantile (Lei et al., Journal of the American Statistical Association 113, 2018), over held-back
    splits; where there are too few of them the largest score. Never less than the model believes of itself.
    """
    return max(_NORMAL, quantile(scores, level))


def quantile(values: Sequence[float], level: float) -> float:
    """Return the least of the values that a new one exceeds with a probability of 1 − `level` at most; the largest
    where there are too few to say."""
    return sorted(values)[min(ceil((len(values) + 1) * level), len(values)) - 1]


def coverage(held_back: Sequence[HeldBack], level: float) -> float:
    """Return the share of held-back figures inside an interval that was made without their split."""
    covered = []
    for each in held_back:
        others = [other.score for other in held_back if not _same_split(each, other)]
        covered.append(each.covered(bar_factor(others, level)))
    return sum(covered) / len(covered)


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


def _same_split(one: HeldBack, other: HeldBack) -> bool:
    return one.model == other.model and _split(one.settings) == _split(other.settings)


def _split(engine: EngineSettings) -> tuple[int, int]:
    return engine.n_gpu_layers, engine.n_cpu_moe
