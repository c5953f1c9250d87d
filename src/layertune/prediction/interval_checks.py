"""Whether a study's own intervals hold: splits are compared with intervals of which no part knows any trial of them.

Neither the prediction nor the factor of the interval may have seen the split. Were the factor found among scores of
which the split's own is one, all but the worst splits would be inside whatever they measured. Other models are left
out, too: a trial that was slow is slow for all of its models.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from layertune.prediction.held_back import Observed, Split, Without, bar_factor, hold_back, predicted, split_of
from layertune.sampler.posterior import ModelEngines

_CHECKED = "tokens_per_s"
_LEAST_KNOWN = 3  # splits: fewer tell no line from its steps


@dataclass(frozen=True, slots=True)
class Judged:
    """A split and the factor of its interval, which was found without any trial of the split."""

    without: Without
    factor: float

    @property
    def is_inside(self) -> bool:
        return self.without.score(_CHECKED) <= self.factor


def check_splits(models: Mapping[str, ModelEngines], measured: Mapping[str, Observed]) -> list[Judged]:
    """Return every split, predicted from all others, and with a factor that is found from these alone."""
    found = []
    for name, model in models.items():
        observed = measured[name]
        inner: dict[Split, list[float]] = defaultdict(list)
        splits = dict.fromkeys(split_of(model.engines[row]) for row, _ in observed)
        for pair in combinations(splits, 2) if len(splits) > 2 else ():
            one, other = predicted(name, model, observed, pair)
            inner[one.split] += scores([other])
            inner[other.split] += scores([one])
        held_back = hold_back(name, model, observed)
        found += [Judged(each, bar_factor(inner[each.split])) for each in held_back]
    return found


def check_larger(models: Mapping[str, ModelEngines], measured: Mapping[str, Observed]) -> list[Judged]:
    """Return the half of each model's splits that have most of it on the device, predicted from the half that have
    least: as a larger card is."""
    found = []
    for name, model in models.items():
        held = {split_of(model.engines[row]): model.features.on_host[row] for row, _ in measured[name]}
        ordered = sorted(held, key=lambda split: held[split], reverse=True)
        above = ordered[max(_LEAST_KNOWN, len(ordered) // 2) :]
        if not above:
            continue
        below = [each for each in measured[name] if split_of(model.engines[each[0]]) not in above]
        factor = bar_factor(scores(hold_back(name, model, below)))
        found += [Judged(without, factor) for without in predicted(name, model, measured[name], above)]
    return found


def scores(without: Iterable[Without]) -> list[float]:
    """Return each split's score."""
    return [each.score(_CHECKED) for each in without]
