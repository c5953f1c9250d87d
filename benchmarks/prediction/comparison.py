"""A prediction beside what was measured on the card that it was for."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from layertune.prediction import Study
from layertune.prediction.held_back import split_of


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
    def covered(self) -> bool:
        return self.low <= self.measured <= self.high

    def on_a_machine(self, ratio: float) -> "Figure":
        """Return the figure as if the prediction had known of a machine `ratio` times as fast."""
        return replace(self, expected=self.expected * ratio, low=self.low * ratio, high=self.high * ratio)


@dataclass(frozen=True)
class Picked:
    """One model's layers in one pick; `bar` is how far off the prediction says it is, None where it does not say."""

    pick: str
    model: str
    predicted: int
    measured: int
    bar: int | None

    @property
    def off(self) -> int:
        return abs(self.predicted - self.measured)


@dataclass(frozen=True)
class Comparison:
    """`n_trials` is how many trials taught, `level` what intervals are made for, `own_median` and `own_coverage` what
    the prediction says of itself;
    `regret` is by how much the predicted balanced pick is truly slower than the best setting there is, None where the
    truth is not known; `n_unknown` are trials of settings that the training study's space does not have; `machine` is
    how many times as fast the machine was in the other study, None where both are of one time or nothing tells."""

    train: str
    other: str
    scaled: str
    n_trials: int
    level: float
    own_median: float
    own_coverage: float
    figures: tuple[Figure, ...]
    picks: tuple[Picked, ...]
    regret: float | None
    n_unknown: int
    machine: float | None = None

    @property
    def figures_beside(self) -> tuple[Figure, ...]:
        """The figures with the machine's own change taken out."""
        return tuple(each.on_a_machine(self.machine or 1.0) for each in self.figures)


def trained_splits(study: Study) -> Mapping[str, Set[tuple[int, int]]]:
    """Return the splits of each model that some training trial had."""
    return {name: {split_of(settings[name]) for settings, _ in study.trials} for name in study.models}
