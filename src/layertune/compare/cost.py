"""The speed lost with the smaller of two budgets, for the balanced picks of two studies."""

from dataclasses import dataclass
from math import exp, log, sqrt

from layertune.compare.study_summary import Speed, balanced, speed
from layertune.results.result import Result
from layertune.results.trial_info import MeasuredIn, last_in_common


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Change of a model's speed with the smaller budget, in percent of its speed with the larger one.

    Negative is slower. `low` and `high` are the 95 % interval, None if a speed has none. `clear` is true if the
    interval does not contain 0.
    """

    percent: float
    low: float | None
    high: float | None
    clear: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """The change of speed by model.

    Both studies' speeds are of the stage `measured_in`. Speeds that the pick was chosen by are biased upwards; those of
    validation runs are not. With equal budgets the other study is in the place of the smaller one.
    """

    smaller: str
    larger: str
    equal_budgets: bool
    measured_in: MeasuredIn
    models: dict[str, ModelCost]


def cost(first_label: str, first: Result, label: str, other: Result) -> Cost | None:
    """Return the cost of the smaller budget; None if a study has no pick, or no stage measured both picks."""
    larger, smaller = (first_label, first), (label, other)
    first_bytes, other_bytes = first.budget.capacity_bytes(), other.budget.capacity_bytes()
    if (first_bytes or 0) < (other_bytes or 0):  # no device counts as the smallest budget
        larger, smaller = smaller, larger
    less, more = balanced(smaller[1]), balanced(larger[1])
    if less is None or more is None:
        return None
    measured_in, models = last_in_common([less, more]), {}
    for model in first.models:
        under, over = speed(less, model, measured_in), speed(more, model, measured_in)
        if under is not None and over is not None and over.tokens_per_s > 0:
            models[model] = model_cost(under, over)
    return Cost(smaller[0], larger[0], first_bytes == other_bytes, measured_in, models) if models else None


def model_cost(under: Speed, over: Speed) -> ModelCost:
    """Compare two speeds of different studies, which have no common rounds to pair.

    The interval of the ratio is computed by the method of variance estimates recovery, on logarithms
    (Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008).
    """
    ratio = under.tokens_per_s / over.tokens_per_s
    ends = (under.low, under.high, over.low, over.high)
    known = [end for end in ends if end is not None and end > 0]
    if len(known) < len(ends) or ratio <= 0:  # an end is missing, or not above 0 and so without a logarithm
        return ModelCost(_percent(ratio), None, None, clear=False)
    under_low, under_high, over_low, over_high = (log(end) for end in known)
    middle_under, middle_over = log(under.tokens_per_s), log(over.tokens_per_s)
    below = sqrt((middle_under - under_low) ** 2 + (over_high - middle_over) ** 2)
    above = sqrt((under_high - middle_under) ** 2 + (middle_over - over_low) ** 2)
    low, high = ratio * exp(-below), ratio * exp(above)
    return ModelCost(_percent(ratio), _percent(low), _percent(high), clear=not low <= 1 <= high)


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)
