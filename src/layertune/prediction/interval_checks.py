"""Checks how often a study's own splits are inside their intervals.

Neither the prediction nor the factor of an interval may depend on the split that is checked. If the split's own score
were used for the factor, all but the worst splits would be inside, whatever they measured. Scores of other models are
not used either: a trial that was slow is slow for all of its models.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from layertune.prediction.held_back import HeldBackSplit, Observed, bar_factor, hold_back, predicted
from layertune.sampler.posterior import ModelEngines
from layertune.settings import Placement

_CHECKED = "tokens_per_s"
_LEAST_KNOWN = 3  # splits, below which a line cannot be separated from its steps


@dataclass(frozen=True, slots=True)
class CheckedSplit:
    """A split, and the factor of its interval, which does not depend on the split."""

    split: HeldBackSplit
    factor: float

    @property
    def is_inside(self) -> bool:
        return self.split.score(_CHECKED) <= self.factor


def check_splits(models: Mapping[str, ModelEngines], measured: Mapping[str, Observed]) -> list[CheckedSplit]:
    """Return every split, with a prediction and a factor from all others."""
    found = []
    for name, model in models.items():
        observed = measured[name]
        inner: dict[Placement, list[float]] = defaultdict(list)
        splits = dict.fromkeys(model.engines[row].placement for row, _ in observed)
        for pair in combinations(splits, 2) if len(splits) > 2 else ():
            one, other = predicted(name, model, observed, pair)
            inner[one.split] += _scores([other])
            inner[other.split] += _scores([one])
        held_back = hold_back(name, model, observed)
        found += [CheckedSplit(each, bar_factor(inner[each.split])) for each in held_back]
    return found


def check_larger(models: Mapping[str, ModelEngines], measured: Mapping[str, Observed]) -> list[CheckedSplit]:
    """Return the half of each model's splits with more of it on the device, predicted from the other half.

    That is how a larger card is predicted.
    """
    found = []
    for name, model in models.items():
        on_host = {model.engines[row].placement: model.features.on_host[row] for row, _ in measured[name]}
        ordered = sorted(on_host, key=lambda split: on_host[split], reverse=True)
        above = ordered[max(_LEAST_KNOWN, len(ordered) // 2) :]
        if not above:
            continue
        below = [each for each in measured[name] if model.engines[each[0]].placement not in above]
        factor = bar_factor(_scores(hold_back(name, model, below)))
        found += [CheckedSplit(split, factor) for split in predicted(name, model, measured[name], above)]
    return found


def _scores(splits: Iterable[HeldBackSplit]) -> list[float]:
    return [each.score(_CHECKED) for each in splits]
