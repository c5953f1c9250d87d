"""What a finished study measured of a model, read from its result."""

from layertune.results.result import Result
from layertune.results.trial_info import TrialInfo
from layertune.search.speeds import Observation
from layertune.trial.outcome import ModelSamples

_QUANTITIES = ("pp_tokens_per_s", "tg_tokens_per_s", "ttft_s", "tokens_per_s", "tokens_per_s_together")


def observations(result: Result, name: str) -> list[Observation]:
    """Return every measured engine of a model with its samples; what stayed disturbed may be slow by any factor, and is
    left out."""
    return [
        (trial.settings[name].canonical(result.models[name].n_layer), _samples(trial, name))
        for trial in result.trials
        if trial.metrics is not None and not is_disturbed(trial)
    ]


def is_disturbed(trial: TrialInfo) -> bool:
    return any(warning.startswith("disturbed") for warning in trial.warnings)


def _samples(trial: TrialInfo, name: str) -> ModelSamples:
    metrics = (trial.metrics or {})[name]
    return ModelSamples(**{quantity: tuple(metrics[quantity].samples) for quantity in _QUANTITIES})
