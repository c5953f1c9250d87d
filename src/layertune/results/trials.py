"""Finished trials, and which of them count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

import numpy as np

from layertune.config.objective import VRAM_PEAK, Floor, Objective
from layertune.results.pareto import pareto_front
from layertune.results.statistics import Metric
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured, ModelSamples, TrialOutcome

# What a round is for: the finals choose, confirming rounds say what the chosen do.
RoundKind = Literal["finals", "confirming"]

# One round, counted from 0 in its kind. A machine may be slower in another one: only figures of the same are compared.
Round = tuple[RoundKind, int]


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """One trial of a study. `violations` maps each constraint to the bytes it is exceeded by; at most 0 is kept.

    A finalist was measured again: `rounds` has its figures by the number of the round, and only these choose. What they
    chose was measured once more: `confirming` has the figures that are told of it. `failed_rounds` says in words which
    of either came to nothing. `kind` is what `rounds` are.
    """

    number: int
    settings: SplitSettings
    outcome: TrialOutcome
    violations: Mapping[str, float]
    rounds: Mapping[int, Measured] = field(default_factory=dict)
    confirming: Mapping[int, Measured] = field(default_factory=dict)
    failed_rounds: Sequence[str] = ()
    kind: RoundKind = "finals"

    def told(self) -> "FinishedTrial":
        """Return the trial with those rounds in the place of `rounds` whose figures are told: the confirming ones,
        where it has such."""
        if not self.confirming:
            return self
        return replace(self, rounds=self.confirming, confirming={}, kind="confirming")

    def feasible(self) -> Measured | None:
        """Return the figures of a measured trial that keeps every limit, else None."""
        keeps = all(excess <= 0 for excess in self.violations.values())
        return self.outcome if isinstance(self.outcome, Measured) and keeps else None

    def metric(self, model: str, quantity: str) -> Metric | None:
        """Return a figure of a measured trial, from its rounds where it is a finalist; None where it has no sample."""
        if not self.rounds:
            samples = _samples(self._measured().models[model].samples, quantity)
            return Metric.of(samples) if samples else None
        rounds = [_samples(each.models[model].samples, quantity) for each in self.rounds.values()]
        told = [samples for samples in rounds if samples]  # latencies beside a prefill are not measured in every round
        return Metric.of_rounds(told) if told else None

    def round_ids(self) -> list[Round]:
        return [(self.kind, number) for number in self.rounds]

    def by_round(self, model: str, quantity: str) -> dict[Round, float]:
        """Return a figure of each round; empty for a trial that is no finalist."""
        return {
            (self.kind, number): median(samples)
            for number, each in self.rounds.items()
            if (samples := _samples(each.models[model].samples, quantity))
        }

    def peak_bytes(self) -> int:
        """Return the most that any measurement before the choice took of the device; 0 on the CPU, which has no memory
        of its own."""
        reports = [each.vram for each in (self._measured(), *self.rounds.values())]
        return max((report.peak_bytes for report in reports if report is not None), default=0)

    def device_peaks(self) -> list[int]:
        """Return the same for each device by itself."""
        reports = [each.vram for each in (self._measured(), *self.rounds.values()) if each.vram is not None]
        by_device = zip(*(report.each for report in reports), strict=True)
        return [max(each.peak_bytes for each in of_device) for of_device in by_device]

    def measurements(self) -> list[Measured]:
        """Return all measurements of a measured trial, in their order."""
        return [self._measured(), *self.rounds.values(), *self.confirming.values()]

    def _measured(self) -> Measured:
        if not isinstance(self.outcome, Measured):
            raise ValueError(f"trial {self.number} was not measured")
        return self.outcome


def objective_value(objective: Objective, trial: FinishedTrial) -> float:
    """Return the median of a measured quantity, the peak VRAM in bytes, or a context size in tokens.

    Raises:
        ValueError: the trial has no such figure.
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
    """Return the feasible measured trials; where some were measured again in the finals, only those."""
    feasible = [trial for trial in trials if trial.feasible() is not None]
    return [trial for trial in feasible if trial.rounds] or feasible


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
    there = above(contenders(trials), floors)
    if not there:
        return []
    values = [[objective_value(objective, trial) for objective in objectives] for trial in there]
    mask = pareto_front(np.array(values), [objective.direction for objective in objectives])
    return [trial for trial, kept in zip(there, mask, strict=True) if kept]


def _samples(samples: ModelSamples, quantity: str) -> tuple[float, ...]:
    found: tuple[float, ...] = getattr(samples, quantity)
    return found
