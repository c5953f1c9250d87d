"""A prediction next to what was measured on the card that it was for."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

from layertune.prediction import MeasuredStudy
from layertune.prediction.held_back import split_of

Direction = Literal["larger", "smaller", "same"]


@dataclass(frozen=True)
class Figure:
    """One model's tokens/s in one trial. `new` marks a split that no training trial of the model had, `beyond` more
    layers than any of them."""

    model: str
    n_gpu_layers: int
    new: bool
    beyond: bool
    expected: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        return abs(self.expected / self.measured - 1)

    @property
    def half(self) -> float:
        """How far the interval reaches to the fast side, relative to its middle."""
        return sqrt(self.high / self.low) - 1

    @property
    def covered(self) -> bool:
        return self.low <= self.measured <= self.high

    def on_a_machine(self, ratio: float) -> "Figure":
        """Return the figure as if the prediction had known of a machine `ratio` times as fast."""
        return replace(self, expected=self.expected * ratio, low=self.low * ratio, high=self.high * ratio)


@dataclass(frozen=True)
class Picked:
    """One model's layers in one pick; `least` and `most` are those that the prediction gives, None where it gives
    none."""

    pick: str
    model: str
    predicted: int
    measured: int
    least: int | None
    most: int | None

    @property
    def off(self) -> int:
        return abs(self.predicted - self.measured)

    @property
    def inside(self) -> bool | None:
        if self.least is None or self.most is None:
            return None
        return self.least <= self.measured <= self.most


@dataclass(frozen=True)
class Beyond:
    """Engines with more of the model on the device than any that taught, or less: `distance` from it, as a share of
    the model. `inside` are those within their interval, which is for the same session; `off` are relative errors in
    the median and at the 90th percentile."""

    source: str
    direction: Direction
    distance: tuple[float, float]
    n: int
    inside: int
    off: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """`group` is what both studies are of, and what else than the size is another; `direction` is where the other card
    is from the study's own; `n_trials` is how many trials taught, `level` what intervals are made for, `own_median` and
    `own_coverage` what the prediction reports of itself, `own_larger` the same of splits that were predicted from those
    with less on the device;
    `regret` is by how much the predicted balanced pick is truly slower than the best setting there is, None where the
    truth is not known; `n_unknown` are trials of settings that the training study's space does not have; `machine` is
    how many times as fast the machine was in the other study, None where both are of one time or nothing tells."""

    group: str
    train: str
    other: str
    direction: Direction
    scaled: str
    n_trials: int
    level: float
    own_median: float
    own_coverage: float
    own_larger: float | None
    figures: tuple[Figure, ...]
    picks: tuple[Picked, ...]
    regret: float | None
    n_unknown: int
    machine: float | None = None

    @property
    def figures_of_one_session(self) -> tuple[Figure, ...]:
        """The figures with the machine's own change taken out."""
        return tuple(each.on_a_machine(self.machine or 1.0) for each in self.figures)


def trained_splits(study: MeasuredStudy) -> Mapping[str, Set[tuple[int, int]]]:
    """Return the splits of each model that some training trial had."""
    return {name: {split_of(settings[name]) for settings, _ in study.trials} for name in study.models}


def direction(own_bytes: int, other_bytes: int) -> Direction:
    if other_bytes == own_bytes:
        return "same"
    return "larger" if other_bytes > own_bytes else "smaller"
