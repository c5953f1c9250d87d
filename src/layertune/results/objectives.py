"""The value of an objective in one measured trial."""

from layertune.config.objective import VRAM_PEAK, Objective
from layertune.results.statistics import Metric
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured


def objective_value(objective: Objective, settings: SplitSettings, outcome: Measured) -> float:
    """Return the median of a measured quantity, the peak VRAM in bytes, or a context size in tokens.

    A device without memory of its own (the CPU) has a peak of 0 bytes.
    """
    if objective.name == VRAM_PEAK:
        return float(outcome.vram.peak_bytes) if outcome.vram is not None else 0.0
    if objective.quantity == "n_ctx":
        return float(settings[objective.subject].n_ctx)
    samples: tuple[float, ...] = getattr(outcome.models[objective.subject].samples, objective.quantity)
    return Metric.of(samples).median
