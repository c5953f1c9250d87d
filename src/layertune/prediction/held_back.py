"""The error of a prediction: each measured split is held back once and predicted from all others.

A split is all engines of a model with the same number of layers on the device. They differ only in batches and
repetitions, so one of them predicts the others too well, and they are no independent evidence. A split is therefore
held back as a whole, and its score is the worst of its engines' scores.

The intervals are leave-one-split-out intervals, like the jackknife, with scores in units of the prediction's own spread
(Lei et al., Journal of the American Statistical Association 113, 2018, has both). No theorem guarantees their level
here. The splits would have to be exchangeable, but a search chooses them, and without further conditions the jackknife
has no guarantee (Barber et al., Annals of Statistics 49, 2021). interval_checks.py counts how often they hold.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log, sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray

from layertune.sampler.posterior import ModelEngines
from layertune.sampler.speeds import Speeds
from layertune.settings import EngineSettings, Placement
from layertune.trial.outcome import ModelSamples

QUANTITIES = ("tokens_per_s", "pp_tokens_per_s", "tg_tokens_per_s")

_LEVEL = 0.9
NORMAL = 1.6449  # the normal distribution's 95 % quantile: a 90 % interval is at least as wide as the model's own

_WIDEST = log(1000)  # a wider interval has no more information, and its ends are not plausible speeds

# Growth of the relative spread from a measured engine to one with the whole model more, or less, on the device. On the
# recorded tables of benchmarks/search_efficiency, 90 % of the cells beyond the measured ones are inside such intervals
# at every distance (benchmarks/prediction/prediction.md, section "Beyond what was measured"). Without this term, 60 %
# of the farthest are.
_BEYOND = 0.3

# Least spread from session to session, as the standard deviation of the logarithm. benchmarks/repeatability measured
# the picks and references of 16 searches again, minutes to hours later, on two machines with an emulated card and one
# with a GPU: 64 speeds, 4.6 % off (root mean square).
LEAST_SESSION = 0.05

Floats = NDArray[np.float64]

# Of one model: the row of an engine, and its samples.
Observed = Sequence[tuple[int, ModelSamples]]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """One engine's tokens/s: predicted without its split, and measured.

    `spread` is the standard deviation that the model gives for the logarithm of the prediction.
    """

    model: str
    settings: EngineSettings
    quantity: str
    expected: float
    spread: float
    measured: float

    @property
    def error(self) -> float:
        """Return the signed relative error of the prediction."""
        return self.expected / self.measured - 1

    @property
    def score(self) -> float:
        return abs(log(self.expected / self.measured)) / self.spread


@dataclass(frozen=True, slots=True)
class HeldBackSplit:
    """A split, the model's speeds predicted without it, and its own engines."""

    model: str
    split: Placement
    speeds: Speeds
    held_back: tuple[HeldBack, ...]

    def of(self, quantity: str) -> list[HeldBack]:
        return [each for each in self.held_back if each.quantity == quantity]

    def score(self, quantity: str) -> float:
        """Return the worst score of the split's engines."""
        return max(each.score for each in self.of(quantity))


def hold_back(name: str, model: ModelEngines, measured: Observed) -> Iterator[HeldBackSplit]:
    """Yield every split of one model, held back in turn; nothing if there is only one."""
    splits = dict.fromkeys(model.engines[row].placement for row, _ in measured)
    if len(splits) < 2:
        return
    for split in splits:
        yield from predicted(name, model, measured, (split,))


def rates(speeds: Speeds, quantity: str) -> Floats:
    """Return every engine's tokens/s."""
    return -speeds.posterior(quantity).mean


def spreads(speeds: Speeds, beyond: Floats, quantity: str) -> Floats:
    """Return the relative spread of a new measurement of each engine around its expected value.

    It combines the posterior's spread, the measurement noise, and the distance from the measured engines.
    """
    posterior = speeds.posterior(quantity)
    return np.sqrt((posterior.std / posterior.mean) ** 2 + speeds.noise**2 + (_BEYOND * beyond) ** 2)


def beyond(model: ModelEngines, rows: Sequence[int]) -> Floats:
    """Return the distance of each engine from the range of the measured `rows`; 0 within it.

    The distance is how much more, or less, of the model is on the device than in any measured engine: as a share of
    layers or of weights, whichever is larger.
    """
    features = model.features
    shares = (features.n_layers / max(1.0, features.n_layers.max()), features.on_host)
    outside = [np.maximum(share - share[rows].max(), share[rows].min() - share) for share in shares]
    return np.asarray(np.maximum(np.maximum(*outside), 0.0))


def level_of(n_splits: int) -> float:
    """Return the level that intervals are made for, at most 90 %.

    It is the share of new splits whose score is below the largest of `n_splits` scores, if all are exchangeable.
    """
    return min(_LEVEL, n_splits / (n_splits + 1))


def bar_factor(scores: Sequence[float]) -> float:
    """Return the half width of an interval in spreads, from the scores of held-back splits.

    It is never less than the model's own 90 % interval.
    """
    return max(NORMAL, quantile(scores)) if scores else NORMAL


def quantile(values: Sequence[float]) -> float:
    """Return the conformal 90 % quantile: the largest value if there are too few for 90 %."""
    return sorted(values)[min(ceil((len(values) + 1) * _LEVEL), len(values)) - 1]


def reaches(expected: float, half: float) -> tuple[float, float]:
    """Return both ends of the interval; `half`, its half width, is in logarithms."""
    half = min(half, _WIDEST)
    return expected * exp(-half), expected * exp(half)


def session_spread(relative: Iterable[float]) -> float:
    """Return the spread of a speed from session to session: after another load, or on another day.

    A study's trials are of one session, so they cannot show it. `relative` are its reference runs, each relative to the
    first one. Two or three of them, minutes apart, can show that a machine varies more than usual, but not less.
    """
    squares = [log(each) ** 2 for each in relative if each > 0]
    return max(LEAST_SESSION, sqrt(sum(squares) / len(squares))) if squares else LEAST_SESSION


def predicted(
    name: str, model: ModelEngines, measured: Observed, unknown: Collection[Placement]
) -> Iterator[HeldBackSplit]:
    """Yield the `unknown` splits, predicted from all others."""
    known = [each for each in measured if model.engines[each[0]].placement not in unknown]
    speeds, outside = model.learn(known), beyond(model, [row for row, _ in known])
    by_split: dict[Placement, dict[int, list[ModelSamples]]] = {}
    for row, samples in measured:
        split = model.engines[row].placement
        if split in unknown:
            by_split.setdefault(split, {}).setdefault(row, []).append(samples)
    for split, by_row in by_split.items():
        yield HeldBackSplit(name, split, speeds, tuple(_held_back(name, model, speeds, outside, by_row)))


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
    """Return one trial's measured tokens/s."""
    if quantity == "tokens_per_s":
        return model.workload.n_counted / model.workload_s(samples)
    return median(samples.pp_tokens_per_s if quantity == "pp_tokens_per_s" else samples.tg_tokens_per_s)
