"""A trial's measurements, and the trials that no other dominates.

A trial is measured in up to three stages. The search measures it once. The finals measure the best trials again, in
rounds; the front and the picks are chosen by these speeds alone. Validation runs then measure what was chosen once
more: they choose nothing, and their speeds are the ones reported.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from layertune.config.objective import VRAM_PEAK, Floor, Objective
from layertune.results.pareto import pareto_front
from layertune.results.statistics import Metric
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured, ModelSamples, TrialOutcome

RoundStage = Literal["finals", "validation"]
Stage = Literal["search", RoundStage]

# Only these choose. A higher peak in a validation run is reported, and counts where it breaks a limit.
_CHOOSING: tuple[Stage, ...] = ("search", "finals")


class Round(NamedTuple):
    """When a measurement was made. Only measurements of the same round are compared: between rounds a machine may
    become slower or faster. `number` counts from 0 in its stage; in the search it is the trial's number, so that no
    two trials share a round there."""

    stage: Stage
    number: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a trial, in round `round` of `stage`; see `Round`."""

    stage: Stage
    round: int
    outcome: TrialOutcome


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """One trial of a study.

    `measurements` begin with the search's own. A validation run that was measured is there only if all that was chosen
    with the trial has its validation runs, so that reported speeds can be compared; failed ones are always there.
    `violations` maps each limit to the bytes it is exceeded by; a limit is kept where that is at most 0.
    """

    number: int
    settings: SplitSettings
    measurements: tuple[Measurement, ...]
    violations: Mapping[str, float]

    @classmethod
    def of(
        cls, number: int, settings: SplitSettings, outcome: TrialOutcome, violations: Mapping[str, float]
    ) -> "FinishedTrial":
        """Return a trial that the search has measured, and nothing else yet."""
        return cls(number, settings, (Measurement("search", number, outcome),), violations)

    @property
    def outcome(self) -> TrialOutcome:
        """The outcome in the search."""
        return self.measurements[0].outcome

    @property
    def chosen_by(self) -> Stage:
        """The stage whose speeds decide about the front and the picks."""
        return "finals" if self.rounds("finals") else "search"

    @property
    def reported_by(self) -> Stage:
        """The stage whose speeds are reported."""
        return "validation" if self.rounds("validation") else self.chosen_by

    def rounds(self, stage: Stage) -> dict[Round, Measured]:
        """Return what was measured in a stage, without what failed."""
        return {
            Round(stage, each.round): each.outcome
            for each in self.measurements
            if each.stage == stage and isinstance(each.outcome, Measured)
        }

    def measured(self, stages: Iterable[Stage] = ("search", "finals", "validation")) -> list[Measured]:
        """Return what was measured in these stages, in order."""
        return [outcome for stage in stages for outcome in self.rounds(stage).values()]

    def feasible(self) -> Measured | None:
        """Return what the search measured of a trial that keeps every limit, else None."""
        keeps = all(excess <= 0 for excess in self.violations.values())
        return self.outcome if isinstance(self.outcome, Measured) and keeps else None

    def metric(self, model: str, quantity: str, stage: Stage | None = None) -> Metric | None:
        """Return a quantity in a stage, by default the one that chooses; None where it has no sample.

        Raises:
            ValueError: the trial was not measured then.
        """
        stage = stage or self.chosen_by
        rounds = [_samples(each, model, quantity) for each in self.rounds(stage).values()]
        if not rounds:
            raise ValueError(f"trial {self.number} was not measured")
        # Latencies next to a prefill are not measured in every round.
        sampled = [samples for samples in rounds if samples]
        if not sampled:
            return None
        return Metric.of(sampled[0]) if stage == "search" else Metric.of_rounds(sampled)

    def by_round(self, model: str, quantity: str, stage: Stage | None = None) -> dict[Round, float]:
        """Return the median of a quantity in each round of a stage, by default the one that chooses."""
        return {
            key: median(samples)
            for key, each in self.rounds(stage or self.chosen_by).items()
            if (samples := _samples(each, model, quantity))
        }

    def peak_bytes(self, stages: Iterable[Stage] = _CHOOSING) -> int:
        """Return the most device memory that was in use; 0 on the CPU, which has no device memory."""
        return max((each.vram.peak_bytes for each in self.measured(stages) if each.vram is not None), default=0)

    def device_peaks(self, stages: Iterable[Stage] = _CHOOSING) -> list[int]:
        """Return the same for each device by itself."""
        reports = [each.vram.each for each in self.measured(stages) if each.vram is not None]
        return [max(each.peak_bytes for each in of_device) for of_device in zip(*reports, strict=True)]


def objective_value(objective: Objective, trial: FinishedTrial) -> float:
    """Return the median of a measured quantity, the peak VRAM in bytes, or a context size in tokens.

    Raises:
        ValueError: the quantity was not measured.
    """
    if objective.name == VRAM_PEAK:
        return float(trial.peak_bytes())
    if objective.quantity == "n_ctx":
        return float(trial.settings[objective.subject].n_ctx)
    metric = trial.metric(objective.subject, objective.quantity)
    if metric is None:
        raise ValueError(f"trial {trial.number} has no {objective.name}")
    return metric.median


def contenders(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """Return the measured trials that keep every limit; once some of them were in the finals, only those."""
    feasible = [trial for trial in trials if trial.feasible() is not None]
    return [trial for trial in feasible if trial.rounds("finals")] or feasible


def missed(trial: FinishedTrial, floors: Sequence[Floor]) -> list[Floor]:
    """Return the floors that a measured trial's medians do not reach."""
    return [floor for floor in floors if floor.shortfall(objective_value(floor.objective, trial)) > 0]


def above(trials: Sequence[FinishedTrial], floors: Sequence[Floor]) -> list[FinishedTrial]:
    """Return the measured trials whose medians reach every floor."""
    return [trial for trial in trials if not missed(trial, floors)]


def front(
    trials: Sequence[FinishedTrial], objectives: Sequence[Objective], floors: Sequence[Floor] = ()
) -> list[FinishedTrial]:
    """Return the contenders above all floors that no other dominates in their medians, in the order of their
    numbers."""
    remaining = above(contenders(trials), floors)
    if not remaining:
        return []
    values = [[objective_value(objective, trial) for objective in objectives] for trial in remaining]
    mask = pareto_front(np.array(values), [objective.direction for objective in objectives])
    return [trial for trial, kept in zip(remaining, mask, strict=True) if kept]


def _samples(measured: Measured, model: str, quantity: str) -> tuple[float, ...]:
    samples: ModelSamples = measured.models[model].samples
    found: tuple[float, ...] = getattr(samples, quantity)
    return found
