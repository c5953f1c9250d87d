"""What a trial of a result has of an objective."""

from collections.abc import Mapping

from layertune.config.objective import VRAM_PEAK, Objective
from layertune.results.trial_info import MetricInfo, TrialInfo


def objective_figure(
    trial: TrialInfo, objective: Objective, metrics: Mapping[str, Mapping[str, MetricInfo]] | None
) -> float | None:
    """Return the peak in bytes, a context in tokens, or the median of a quantity of `metrics`, which are the trial's
    own or its screening; None where it is missing."""
    if objective.name == VRAM_PEAK:
        return float(trial.vram.peak_bytes) if trial.vram is not None else 0.0  # on the CPU, in every trial
    if objective.quantity == "n_ctx" and objective.subject in trial.settings:
        return float(trial.settings[objective.subject].n_ctx)
    metric = (metrics or {}).get(objective.subject, {}).get(objective.quantity)
    return None if metric is None else metric.median
