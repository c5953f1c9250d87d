"""How far off a prediction is: every split that was measured is held back once and predicted from all others.

A split is all engines of a model with as many layers on the device: its batches and repetitions are near copies.
Knowing one of them would make the others look easy, and each of them would count as one more proof, so a split is held
back whole and has one score, the worst of its engines'.

The intervals are leave-one-split-out intervals in the manner of the jackknife, with scores in units of the prediction's
own spread (Lei et al., Journal of the American Statistical Association 113, 2018, has both). No theorem promises their
level here: splits would have to be exchangeable, and a search chooses them, and without further conditions the
jackknife has no promise at all (Barber et al., Annals of Statistics 49, 2021). checks.py counts how often they hold.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from statistics import median

import numpy as np
from numpy.typing import NDArray

from layertune.sampler.posterior import ModelEngines, Speeds
from layertune.settings import EngineSettings
from layertune.trial.outcome import ModelSamples

QUANTITIES = ("tokens_per_s", "pp_tokens_per_s", "tg_tokens_per_s")

_LEVEL = 0.9
NORMAL = 1.6449  # the normal distribution's 95 % quantile: a bar of 90 % is at least what the model itself believes

_WIDEST = log(1000)  # an interval that reaches farther says as little, and its ends are no speeds

# How much the relative spread grows from an engine that was measured to one that has all of the model more, or less,
# on the device. On the recorded tables of benchmarks/search_efficiency, 90 % of the cells beyond what a part of a
# search's trials measured are inside such intervals at every distance (benchmarks/prediction/prediction.md, section
# "Beyond what was measured"). Without this, 60 % of the farthest are.
_BEYOND = 0.3

Floats = NDArray[np.float64]

# Of one model: the row of an engine, and its samples.
Observed = Sequence[tuple[int, ModelSamples]]
Split = tuple[int, int]


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
    split: Split
    speeds: Speeds
    held_back: tuple[HeldBack, ...]

    def of(self, quantity: str) -> list[HeldBack]:
        return [each for each in self.held_back if each.quantity == quantity]

    def score(self, quantity: str) -> float:
        """Return the worst score of the split's engines."""
        return max(each.score for each in self.of(quantity))


def hold_back(name: str, model: ModelEngines, measured: Observed) -> Iterator[Without]:
    """Yield every split of one model held back; nothing where there is only one."""
    splits = dict.fromkeys(split_of(model.engines[row]) for row, _ in measured)
    if len(splits) < 2:
        return
    for split in splits:
        yield from predicted(name, model, measured, (split,))


def rates(speeds: Speeds, quantity: str) -> Floats:
    """Return every engine's tokens/s."""
    return -speeds.posterior(quantity).mean


def spreads(speeds: Speeds, beyond: Floats, quantity: str) -> Floats:
    """Return how unsure each is to be measured as expected: what is not known of it, the more the farther it is beyond
    what was measured, and a measurement's noise."""
    posterior = speeds.posterior(quantity)
    return np.sqrt((posterior.std / posterior.mean) ** 2 + speeds.noise**2 + (_BEYOND * beyond) ** 2)


def beyond(model: ModelEngines, rows: Sequence[int]) -> Floats:
    """Return how far each engine is beyond those of `rows`, which were measured: by how much more of the model it has
    on the device than any of them, or less, as a share of its layers or of its weights, whichever is more."""
    features = model.features
    shares = (features.n_layers / max(1.0, features.n_layers.max()), features.on_host)
    outside = [np.maximum(share - share[rows].max(), share[rows].min() - share) for share in shares]
    return np.asarray(np.maximum(np.maximum(*outside), 0.0))


def level_of(n_splits: int) -> float:
    """Return the share of new splits that the largest of `n_splits` scores would hold if all were drawn alike, 90 % at
    most: what intervals are made for."""
    return min(_LEVEL, n_splits / (n_splits + 1))


def bar_factor(scores: Sequence[float]) -> float:
    """Return by how many spreads an interval reaches, from the scores of held-back splits. Never less than the model
    believes of itself."""
    return max(NORMAL, quantile(scores)) if scores else NORMAL


def quantile(values: Sequence[float]) -> float:
    """Return the least of the values that holds the level of as many; the largest where they are too few for 90 %."""
    return sorted(values)[min(ceil((len(values) + 1) * _LEVEL), len(values)) - 1]


def reaches(expected: float, half: float) -> tuple[float, float]:
    """Return both ends of the interval; `half` of it is in logarithms."""
    half = min(half, _WIDEST)
    return expected * exp(-half), expected * exp(half)


def predicted(name: str, model: ModelEngines, measured: Observed, unknown: Collection[Split]) -> Iterator[Without]:
    """Yield the splits that are not to be known, predicted from all others."""
    known = [each for each in measured if split_of(model.engines[each[0]]) not in unknown]
    speeds, outside = model.learn(known), beyond(model, [row for row, _ in known])
    by_split: dict[Split, dict[int, list[ModelSamples]]] = {}
    for row, samples in measured:
        split = split_of(model.engines[row])
        if split in unknown:
            by_split.setdefault(split, {}).setdefault(row, []).append(samples)
    for split, by_row in by_split.items():
        yield Without(name, split, speeds, tuple(_held_back(name, model, speeds, outside, by_row)))


def _held_back(
    name: str, model: ModelEngines, speeds: Speeds, outside: Floats, by_row: Mapping[int, Sequence[ModelSamples]]
) -> Iterator[HeldBack]:
    for quantity in QUANTITIES:
        expected, spread = rates(speeds, quantity), spreads(speeds, outside, quantity)
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


def split_of(engine: EngineSettings) -> Split:
    """Return the layers on the device, and of how many the experts are kept on the host."""
    return engine.n_gpu_layers, engine.n_cpu_moe
