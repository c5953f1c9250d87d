"""Finished trials, and which of them count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from layertune.config.objective import Objective
from layertune.results.objectives import objective_value
from layertune.results.pareto import pareto_front
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured, TrialOutcome


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """One trial of a study. `violations` maps each constraint to the bytes it is exceeded by; at most 0 is kept."""

    number: int
    settings: SplitSettings
    outcome: TrialOutcome
    violations: Mapping[str, float]

    def feasible(self) -> Measured | None:
        """Return the figures of a measured trial that keeps every limit, else None."""
        keeps = all(excess <= 0 for excess in self.violations.values())
        return self.outcome if isinstance(self.outcome, Measured) and keeps else None


def front(trials: Sequence[FinishedTrial], objectives: Sequence[Objective]) -> list[FinishedTrial]:
    """Return the feasible measured trials that no other dominates, in the order of their numbers."""
    feasible = [(trial, outcome) for trial in trials if (outcome := trial.feasible()) is not None]
    if not feasible:
        return []
    values = [
        [objective_value(objective, trial.settings, outcome) for objective in objectives] for trial, outcome in feasible
    ]
    mask = pareto_front(np.array(values), [objective.direction for objective in objectives])
    return [trial for (trial, _), kept in zip(feasible, mask, strict=True) if kept]
