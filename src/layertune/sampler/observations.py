"""The measurements of a finished study, as a prior for another one."""

from layertune.results.result import Result, quiet_trials
from layertune.results.trial_info import recorded_samples
from layertune.sampler.posterior import Observation


def observations(result: Result, name: str) -> list[Observation]:
    """Return every measured engine of a model with its samples, without trials that stayed disturbed."""
    return [
        (result.canonical(name, trial.settings[name]), recorded_samples(trial, name)) for trial in quiet_trials(result)
    ]
