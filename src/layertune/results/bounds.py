"""Trials that are beaten beyond noise: compared by the intervals of what was measured, not by their medians."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from layertune.config.objective import VRAM_PEAK, Objective
from layertune.results.drift import CLEAR_DRIFT
from layertune.results.statistics import Metric
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings
from layertune.trial.outcome import ModelSamples

# Repetitions share one load of the model, and scatter less than loads do.
LOAD_SPREAD = CLEAR_DRIFT / 2


@dataclass(frozen=True, slots=True)
class Bounds:
    """The ends of a trial's interval in each objective, as costs: less is better."""

    best: tuple[float, ...]
    worst: tuple[float, ...]

    def beats(self, other: "Bounds") -> bool:
        """Return whether this at its worst is nowhere worse than the other at its best, and somewhere better."""
        pairs = list(zip(self.worst, other.best, strict=True))
        return all(mine <= theirs for mine, theirs in pairs) and any(mine < theirs for mine, theirs in pairs)


def bounds(
    objectives: Sequence[Objective], settings: SplitSettings, samples: Mapping[str, ModelSamples], peak_bytes: int
) -> Bounds | None:
    """Return the bounds of these samples; None where an objective has too few samples for an interval."""
    best, worst = [], []
    for objective in objectives:
        interval = _interval(objective, settings, samples, peak_bytes)
        if interval is None:
            return None
        low, high = interval
        best.append(-high if objective.direction == "maximize" else low)
        worst.append(-low if objective.direction == "maximize" else high)
    return Bounds(tuple(best), tuple(worst))


def trial_bounds(objectives: Sequence[Objective], trial: FinishedTrial) -> Bounds | None:
    """Return the bounds of a feasible trial as the search measured it, None for any other."""
    measured = trial.feasible()
    if measured is None:
        return None
    samples = {name: report.samples for name, report in measured.models.items()}
    return bounds(objectives, trial.settings, samples, trial.peak_bytes())


def clearly_beaten(
    mine: Bounds | None, others: Iterable[FinishedTrial], objectives: Sequence[Objective]
) -> FinishedTrial | None:
    """Return one of `others` that beats these bounds, None where none does."""
    if mine is None:
        return None
    for other in others:
        theirs = trial_bounds(objectives, other)
        if theirs is not None and theirs.beats(mine):
            return other
    return None


def _interval(
    objective: Objective, settings: SplitSettings, samples: Mapping[str, ModelSamples], peak_bytes: int
) -> tuple[float, float] | None:
    if objective.name == VRAM_PEAK:
        return peak_bytes, peak_bytes
    if objective.is_set:
        value = objective.of_settings(settings[objective.subject])
        return None if value is None else (value, value)
    values: tuple[float, ...] = getattr(samples[objective.subject], objective.quantity)
    metric = Metric.of(values) if values else None
    if metric is None or metric.low is None or metric.high is None:
        return None
    return min(metric.low, metric.median * (1 - LOAD_SPREAD)), max(metric.high, metric.median * (1 + LOAD_SPREAD))
