"""A trial's measurements, and the trials that no other dominates.

A trial is measured in up to three stages. The search measures it once. The finals measure again what could be picked,
in rounds. Validation runs then measure the pick and the best baseline once more: they choose nothing, and the
difference between the two is reported from them alone.
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


def objective_value(objective: Objective, trial: FinishedTrial, stage: Stage | None = None) -> float:
    """Return the median of a measured quantity in a stage, by default the one that chooses; or the peak VRAM in bytes,
    or what the settings determine.

    Raises:
        ValueError: the quantity was not measured.
    """
    if objective.name == VRAM_PEAK:
        return float(trial.peak_bytes())
    if objective.is_set:
        value = objective.of_settings(trial.settings[objective.subject])
    else:
        metric = trial.metric(objective.subject, objective.quantity, stage)
        value = None if metric is None else metric.median
    if value is None:
        raise ValueError(f"trial {trial.number} has no {objective.name}")
    return value


def contenders(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """Return the measured trials that keep every limit; once some of them were in the finals, only those."""
    measured = feasible_trials(trials)
    return [trial for trial in measured if trial.rounds("finals")] or measured


def feasible_trials(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """Return the measured trials that keep every limit."""
    return [trial for trial in trials if trial.feasible() is not None]


def missed(trial: FinishedTrial, floors: Sequence[Floor]) -> list[Floor]:
    """Return the floors that a measured trial's medians do not reach."""
    return [floor for floor in floors if floor.shortfall(objective_value(floor.objective, trial)) > 0]


def above(trials: Sequence[FinishedTrial], floors: Sequence[Floor]) -> list[FinishedTrial]:
    """Return the measured trials whose medians reach every floor."""
    return [trial for trial in trials if not missed(trial, floors)]


def front(
    trials: Sequence[FinishedTrial], objectives: Sequence[Objective], floors: Sequence[Floor] = ()
) -> list[FinishedTrial]:
    """Return the feasible trials above all floors that no other dominates, in the order of their numbers.

    Only medians of the same stage are compared, and in the finals only those of common rounds:

    - Trials that were in the finals are compared with each other by these rounds.
    - A trial that was measured once is compared with all others by what the search measured.
    """
    remaining = above(feasible_trials(trials), floors)
    again = [trial for trial in remaining if trial.rounds("finals")]
    best = {trial.number for trial in again if not any(_dominates(other, trial, objectives) for other in again)}
    best |= {trial.number for trial in _search_front(remaining, objectives) if not trial.rounds("finals")}
    return [trial for trial in remaining if trial.number in best]


def _search_front(trials: Sequence[FinishedTrial], objectives: Sequence[Objective]) -> list[FinishedTrial]:
    """Return the trials that no other dominates in what the search measured."""
    if not trials:
        return []
    values = [[objective_value(objective, trial, "search") for objective in objectives] for trial in trials]
    mask = pareto_front(np.array(values), [objective.direction for objective in objectives])
    return [trial for trial, kept in zip(trials, mask, strict=True) if kept]


def _dominates(other: FinishedTrial, trial: FinishedTrial, objectives: Sequence[Objective]) -> bool:
    """Return whether `other` is nowhere worse and somewhere better in the rounds of the finals that both have."""
    differences = [_lead(objective, other, trial) for objective in objectives]
    return all(each >= 0 for each in differences) and any(each > 0 for each in differences)


def _lead(objective: Objective, one: FinishedTrial, other: FinishedTrial) -> float:
    """Return by how much `one` is better in an objective: in the median of the common rounds, if it is timed."""
    sign = 1 if objective.direction == "maximize" else -1
    if not objective.is_clocked:
        return sign * (objective_value(objective, one) - objective_value(objective, other))
    ours = one.by_round(objective.subject, objective.quantity, "finals")
    theirs = other.by_round(objective.subject, objective.quantity, "finals")
    common = ours.keys() & theirs.keys()
    if not common:
        return 0.0
    return sign * (median(ours[key] for key in common) - median(theirs[key] for key in common))


def _samples(measured: Measured, model: str, quantity: str) -> tuple[float, ...]:
    samples: ModelSamples = measured.models[model].samples
    found: tuple[float, ...] = getattr(samples, quantity)
    return found
