"""What a result has recorded of a trial, as the samples that speeds are learned from."""

from collections.abc import Sequence
from dataclasses import fields

from layertune.results.result import Result
from layertune.results.trial_info import METRICS, TrialInfo
from layertune.trial.outcome import ModelSamples

_QUANTITIES = tuple(field.name for field in fields(ModelSamples) if field.name in METRICS)


def is_disturbed(trial: TrialInfo) -> bool:
    return any(warning.startswith("disturbed") for warning in trial.warnings)


def quiet_trials(result: Result) -> Sequence[TrialInfo]:
    """Return the measured trials that nothing disturbed: one that stayed disturbed may be slow by any factor."""
    return [trial for trial in result.trials if trial.metrics is not None and not is_disturbed(trial)]


def recorded_samples(trial: TrialInfo, model: str) -> ModelSamples:
    """Return what a measured trial recorded of one model."""
    metrics = (trial.metrics or {})[model]
    return ModelSamples(**{quantity: tuple(metrics[quantity].samples) for quantity in _QUANTITIES})
