"""Speeds of a running stack beside those that a study measured."""

from collections.abc import Mapping

from layertune.results.result import TrialInfo
from layertune.verify.record import How, SpeedComparison
from layertune.verify.requests import Phase


def compared(alone: Mapping[str, Phase], together: Phase, trial: TrialInfo | None) -> list[SpeedComparison]:
    """Return each model alone and, of several, with all of them at once."""
    rows = [_row(name, "alone", phase, trial, "tokens_per_s") for name, phase in alone.items()]
    if len(alone) > 1:
        rows += [_row(name, "together", together, trial, "tokens_per_s_together") for name in alone]
    return [row for row in rows if row is not None]


def _row(name: str, how: How, phase: Phase, trial: TrialInfo | None, quantity: str) -> SpeedComparison | None:
    figures = phase.stats(name)
    if figures.tokens_per_s is None:
        return None
    metrics = trial.metrics if trial is not None else None
    return SpeedComparison(
        model=name,
        how=how,
        here=figures.tokens_per_s,
        rates=tuple(phase.rates(name)),
        study=None if metrics is None else metrics[name].get(quantity),
    )
