"""Which trial of the front to deploy.

    NAME      the fastest for that model
    balanced  the highest weighted geometric mean, over the models, of a model's speed relative to its best on the
              front: scale free, so a 7B model's 5 tokens/s weigh as much as a 3B model's 12
    lean      the least VRAM among the trials that keep LEAN_SHARE of the balanced pick's score

Speed is the median `tokens_per_s` of the workload. Among tied trials (`statistics.Comparison.tied`) the one with the
least VRAM is picked, and of several with the least VRAM the fastest. Equal trials are one already (`choice.py`). For
the balanced pick they must be tied in every model, too: what one model loses and another gains is a choice, not a tie.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from operator import itemgetter
from types import MappingProxyType

from layertune.results.statistics import Comparison, compare
from layertune.results.trials import FinishedTrial, Round
from layertune.trial.interval import LEVEL

LEAN_SHARE = 0.9

EQUAL: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a pick compares: a trial's speeds in tokens/s by model, its peak VRAM in bytes (0 without a GPU), and its
    speeds in each round."""

    number: int
    tokens_per_s: Mapping[str, float]
    peak_bytes: int
    rounds: Mapping[Round, Mapping[str, float]] = field(default_factory=dict)


Speed = Callable[[Mapping[str, float]], float]


def choose(candidates: Sequence[Candidate], weights: Mapping[str, float] = EQUAL) -> dict[str, int]:
    """Return the trial number of every pick; empty without candidates. A model without a weight counts once."""
    if not candidates:
        return {}
    speeds = judged_by(candidates, weights)
    score = speeds.pop("balanced")
    balanced = _fastest(candidates, score, list(speeds.values()))
    picks = {"balanced": balanced.number}
    for model, speed in speeds.items():
        picks[model] = _fastest(candidates, speed).number
    kept = [each for each in candidates if score(each.tokens_per_s) >= LEAN_SHARE * score(balanced.tokens_per_s)]
    picks["lean"] = min(kept, key=lambda each: (each.peak_bytes, -score(each.tokens_per_s), each.number)).number
    return picks


def judged_by(candidates: Sequence[Candidate], weights: Mapping[str, float] = EQUAL) -> dict[str, Speed]:
    """Return the speed that each pick has most of, by the pick's name; the lean one follows from the balanced one."""
    models = list(candidates[0].tokens_per_s)
    fastest = {model: max(each.tokens_per_s[model] for each in candidates) for model in models}

    def score(speeds: Mapping[str, float]) -> float:
        parts = (float(speeds[model] / fastest[model]) ** weights.get(model, 1.0) for model in models)
        return float(prod(parts) ** (1 / sum(weights.get(model, 1.0) for model in models)))

    return {"balanced": score} | {model: itemgetter(model) for model in models}


def compare_candidates(one: Candidate, other: Candidate, speed: Speed, level: float = LEVEL) -> Comparison | None:
    """Compare a speed of two candidates, round by round; None where they were not measured in the same round."""
    return compare(
        {number: speed(speeds) for number, speeds in one.rounds.items()},
        {number: speed(speeds) for number, speeds in other.rounds.items()},
        level,
    )


def _fastest(candidates: Sequence[Candidate], speed: Speed, others: Sequence[Speed] = ()) -> Candidate:
    """Return the candidate with the least VRAM among those that are slower than the fastest in none of the speeds."""
    best = max(candidates, key=lambda each: (speed(each.tokens_per_s), -each.peak_bytes, -each.number))
    equals = [each for each in candidates if not any(_slower(each, best, judged) for judged in (speed, *others))]
    return min(equals, key=lambda each: (each.peak_bytes, -speed(each.tokens_per_s), each.number))


def _slower(one: Candidate, best: Candidate, speed: Speed) -> bool:
    """Return whether `one` is slower. With less than two common rounds the noise is unknown, and every difference
    counts."""
    compared = compare_candidates(one, best, speed)
    if compared is None or compared.low is None:
        return speed(one.tokens_per_s) < speed(best.tokens_per_s)
    return compared.ratio < 1 and not compared.tied


def candidates(front: Sequence[FinishedTrial]) -> list[Candidate]:
    """Return the trials of a front as `choose` compares them."""
    return [
        Candidate(
            trial.number,
            {name: metric.median for name in trial.settings if (metric := trial.metric(name, "tokens_per_s"))},
            trial.peak_bytes(),
            _speeds_by_round(trial),
        )
        for trial in front
    ]


def _speeds_by_round(trial: FinishedTrial) -> dict[Round, dict[str, float]]:
    speeds = {name: trial.by_round(name, "tokens_per_s") for name in trial.settings}
    common = [each for each in trial.rounds(trial.chosen_by) if all(each in of_model for of_model in speeds.values())]
    return {each: {name: of_model[each] for name, of_model in speeds.items()} for each in common}
