"""Whether the machine became faster or slower during a study, by one setting that is measured again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

from layertune.results.statistics import Metric
from layertune.trial.outcome import Measured

# Less is within what two loads of one model differ by on a quiet machine.
CLEAR_DRIFT = 0.05


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference setting as it was measured after `n_trials` finished trials."""

    n_trials: int
    outcome: Measured

    def metric(self, model: str) -> Metric:
        return Metric.of(self.outcome.models[model].samples.tokens_per_s)


def drifts(references: Sequence[Reference]) -> list[dict[str, float]]:
    """Return each reference's speeds, by model, relative to the first one's."""
    first = references[0] if references else None
    return [
        {name: each.metric(name).median / first.metric(name).median for name in each.outcome.models}
        for each in references
        if first is not None
    ]


def worst_drift(references: Sequence[Reference]) -> float | None:
    """Return the relative speed that is farthest from the first reference's, None where it is within CLEAR_DRIFT or
    within the noise of both measurements."""
    found = []
    for each in references[1:]:
        for name in each.outcome.models:
            now, first = each.metric(name), references[0].metric(name)
            ratio = now.median / first.median
            if _apart(now, first) and abs(ratio - 1) > CLEAR_DRIFT:
                found.append(ratio)
    return max(found, key=lambda ratio: abs(ratio - 1), default=None)


def _apart(now: Metric, first: Metric) -> bool:
    """Return whether the intervals do not overlap."""
    if now.low is None or now.high is None or first.low is None or first.high is None:
        return False
    return now.low > first.high or now.high < first.low
