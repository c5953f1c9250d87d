"""Which trial of the front to deploy.

    NAME      the fastest for that model
    balanced  the highest weighted geometric mean, over the models, of a model's speed relative to its best on the
              front: scale free, so a 7B model's 5 tokens/s weigh as much as a 3B model's 12
    even      the highest smallest share: no model is slower, relative to its best on the front, than it has to be
    lean      the least VRAM among the trials that keep LEAN_SHARE of the balanced pick's score

Speed is `tokens_per_s` of the workload: the best estimate where there is one, else the median. Among tied trials
(`statistics.Comparison.tied`) the one with the least VRAM is picked, and of several with the least VRAM the fastest.
Equal trials are one already (`choice.py`). For the balanced pick they must be tied in every model, too: what one model
loses and another gains is a choice, not a tie.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from layertune.results.estimates import Estimates
from layertune.results.statistics import Comparison, compare
from layertune.results.trials import FinishedTrial, Round

LEAN_SHARE = 0.9

BALANCED, EVEN = "balanced", "even"

EQUAL: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a pick compares: a trial's best estimates of tokens/s by model, its peak VRAM in bytes (0 without a GPU),
    and its speeds in each round."""

    number: int
    tokens_per_s: Mapping[str, float]
    peak_bytes: int
    rounds: Mapping[Round, Mapping[str, float]] = field(default_factory=dict)


# How much each model's speed counts.
Weights = Mapping[str, float]

Compare = Callable[[Candidate, Candidate, Weights], Comparison | None]


def compare_candidates(one: Candidate, other: Candidate, weights: Weights) -> Comparison | None:
    """Compare the weighted geometric means of two candidates' speeds, round by round; None without a common round."""
    return compare(
        {key: _mean(speeds, weights) for key, speeds in one.rounds.items()},
        {key: _mean(speeds, weights) for key, speeds in other.rounds.items()},
    )


def choose(
    candidates: Sequence[Candidate], weights: Weights = EQUAL, compare: Compare = compare_candidates
) -> dict[str, int]:
    """Return the trial number of every pick; empty without candidates. A model without a weight counts once."""
    if not candidates:
        return {}
    models = list(candidates[0].tokens_per_s)
    contests = contested(models, weights)
    fastest = {model: max(each.tokens_per_s[model] for each in candidates) for model in models}

    def score(each: Candidate) -> float:
        return _mean({model: speed / fastest[model] for model, speed in each.tokens_per_s.items()}, contests[BALANCED])

    def smallest_share(each: Candidate) -> float:
        return min(speed / fastest[model] for model, speed in each.tokens_per_s.items())

    picks = {BALANCED: _fastest(candidates, list(contests.values()), compare).number}
    picks |= {model: _fastest(candidates, [contests[model]], compare).number for model in models}
    if len(models) > 1:
        picks[EVEN] = max(candidates, key=lambda each: (smallest_share(each), -each.peak_bytes, -each.number)).number
    least = LEAN_SHARE * next(score(each) for each in candidates if each.number == picks[BALANCED])
    kept = [each for each in candidates if score(each) >= least]
    picks["lean"] = min(kept, key=lambda each: (each.peak_bytes, -score(each), each.number)).number
    return picks


def contested(models: Iterable[str], weights: Weights = EQUAL) -> dict[str, Weights]:
    """Return the picks that the fastest wins, and what is fastest there: how much each model's speed counts."""
    models = list(models)
    contests: dict[str, Weights] = {BALANCED: {model: weights.get(model, 1.0) for model in models}}
    return contests | {model: {model: 1.0} for model in models}


def _mean(speeds: Mapping[str, float], weights: Weights) -> float:
    """Return the weighted geometric mean."""
    return float(prod(speeds[model] ** weight for model, weight in weights.items()) ** (1 / sum(weights.values())))


def _fastest(candidates: Sequence[Candidate], contests: Sequence[Weights], compare: Compare) -> Candidate:
    """Return the candidate with the least VRAM among those that are slower than the fastest in none of the contests;
    the first contest says which is the fastest."""

    def speed(each: Candidate) -> float:
        return _mean(each.tokens_per_s, contests[0])

    def is_slower(each: Candidate, weights: Weights) -> bool:
        # With less than two common rounds the noise is unknown, and every difference counts.
        compared = compare(each, best, weights)
        if compared is None or compared.low is None:
            return _mean(each.tokens_per_s, weights) < _mean(best.tokens_per_s, weights)
        return compared.ratio < 1 and not compared.tied

    best = max(candidates, key=lambda each: (speed(each), -each.peak_bytes, -each.number))
    equals = [each for each in candidates if not any(is_slower(each, weights) for weights in contests)]
    return min(equals, key=lambda each: (each.peak_bytes, -speed(each), each.number))


def candidates(trials: Sequence[FinishedTrial], estimates: Estimates | None = None) -> list[Candidate]:
    """Return trials as `choose` compares them."""
    return [
        Candidate(
            trial.number,
            _medians(trial) if estimates is None else estimates.speeds(trial.number),
            trial.peak_bytes(),
            _speeds_by_round(trial),
        )
        for trial in trials
    ]


def _medians(trial: FinishedTrial) -> dict[str, float]:
    return {name: metric.median for name in trial.settings if (metric := trial.metric(name, "tokens_per_s"))}


def _speeds_by_round(trial: FinishedTrial) -> dict[Round, dict[str, float]]:
    speeds = {name: trial.by_round(name, "tokens_per_s") for name in trial.settings}
    common = [each for each in trial.rounds(trial.chosen_by) if all(each in of_model for of_model in speeds.values())]
    return {each: {name: of_model[each] for name, of_model in speeds.items()} for each in common}
