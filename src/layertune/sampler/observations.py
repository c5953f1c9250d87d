"""What a finished study measured of a model, to learn its speeds from."""

from layertune.results.result import Result, quiet_trials
from layertune.results.trial_info import recorded_samples
from layertune.sampler.posterior import Observation


def observations(result: Result, name: str) -> list[Observation]:
    """Return every measured engine of a model with its samples; what stayed disturbed is left out."""
    n_layer = result.models[name].n_layer
    return [(trial.settings[name].canonical(n_layer), recorded_samples(trial, name)) for trial in quiet_trials(result)]
