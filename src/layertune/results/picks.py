"""Which trial of the front to deploy.

    NAME      the fastest for that model
    balanced  the highest geometric mean, over the models, of a model's speed relative to its best on the front: scale
              free, so a 7B model's 5 tokens/s weigh as much as a 3B model's 12
    lean      the least VRAM among the trials that keep LEAN_SHARE of the balanced pick's score

Speed is the median `tokens_per_s` of the workload. Ties go to less VRAM, then to the earlier trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from layertune.results.statistics import Metric
from layertune.results.trials import FinishedTrial

LEAN_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a pick looks at: one trial's speeds in tokens/s by model, and its peak VRAM in bytes (0 without a GPU)."""

    number: int
    tokens_per_s: Mapping[str, float]
    peak_bytes: int


def choose(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Return the trial number of every pick; empty without candidates."""
    if not candidates:
        return {}
    models = list(candidates[0].tokens_per_s)
    fastest = {model: max(each.tokens_per_s[model] for each in candidates) for model in models}

    def score(each: Candidate) -> float:
        return float(prod(each.tokens_per_s[model] / fastest[model] for model in models) ** (1 / len(models)))

    def ties(each: Candidate) -> tuple[int, int]:
        return -each.peak_bytes, -each.number

    balanced = max(candidates, key=lambda each: (score(each), *ties(each)))
    kept = [each for each in candidates if score(each) >= LEAN_SHARE * score(balanced)]
    picks = {"balanced": balanced.number}
    for model in models:
        first = [each for each in candidates if each.tokens_per_s[model] == fastest[model]]
        picks[model] = max(first, key=ties).number
    least = min(each.peak_bytes for each in kept)
    picks["lean"] = max(
        (each for each in kept if each.peak_bytes == least), key=lambda each: (score(each), -each.number)
    ).number
    return picks


def candidates(front: Sequence[FinishedTrial]) -> list[Candidate]:
    return [
        Candidate(
            trial.number,
            {name: Metric.of(report.samples.tokens_per_s).median for name, report in outcome.models.items()},
            outcome.vram.peak_bytes if outcome.vram is not None else 0,
        )
        for trial in front
        if (outcome := trial.feasible()) is not None
    ]
