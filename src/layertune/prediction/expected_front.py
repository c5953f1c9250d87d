"""The expected front: the best settings that fit, by the expected speeds of the models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layertune.config import Floor, Objective
from layertune.config.objective import VRAM_PEAK
from layertune.results.picks import Candidate, choose
from layertune.sampler.candidates import Rows, unbeaten
from layertune.sampler.posterior import ModelEngines
from layertune.sampler.speeds import Speeds

_MOST_SETTINGS = 20_000
_MOST_PAIRS = 2_000_000


@dataclass(frozen=True, slots=True)
class Front:
    """The settings: a row has one engine of each model. The best in the first objective comes first.

    `whole` is False if the front is very large and the rows are an evenly spaced part of it.
    """

    rows: Rows
    whole: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    """A model's engines that may be on the front.

    `upgrade_bytes` is how many more bytes the smallest better engine takes on the device; infinite if there is none.
    """

    rows: Rows
    device_bytes: NDArray[np.int64]
    upgrade_bytes: NDArray[np.float64]


def expected_front(
    models: Mapping[str, ModelEngines],
    speeds: Mapping[str, Speeds],
    objectives: Sequence[Objective],
    floors: Sequence[Floor],
    capacity_bytes: int,
) -> Front:
    """Return the settings that fit, reach the floors, and are not dominated.

    Every objective except memory concerns one model. So only engines that are not dominated in their model's objectives
    and bytes can be on the front. A setting of such engines is dominated only if one of its models has a better engine
    that still fits; if memory is an objective, never. This is exact and compares no pairs of settings.
    """
    kept = [_kept(model, speeds[name], name, objectives, floors) for name, model in models.items()]
    places, whole = _combined(kept, capacity_bytes)
    if VRAM_PEAK not in [each.name for each in objectives]:
        taken = np.sum([each.device_bytes[places[:, model]] for model, each in enumerate(kept)], axis=0)
        upgrade = np.min([each.upgrade_bytes[places[:, model]] for model, each in enumerate(kept)], axis=0)
        places = places[taken + upgrade > capacity_bytes]
    rows = np.stack([each.rows[places[:, model]] for model, each in enumerate(kept)], axis=1)
    rows = rows[np.argsort(_costs(rows, models, speeds, objectives[0]), kind="stable")]
    if len(rows) > _MOST_SETTINGS:
        return Front(_even_part(rows, _MOST_SETTINGS), whole=False)
    return Front(rows, whole)


def expected_picks(
    front: Rows, models: Mapping[str, ModelEngines], speeds: Mapping[str, Speeds], weights: Mapping[str, float]
) -> dict[str, int]:
    """Return each pick's place on the front; empty without a front."""
    rates = {name: -speeds[name].posterior("tokens_per_s").mean for name in models}
    candidates = [
        Candidate(
            place,
            {name: float(rates[name][row]) for name, row in zip(models, rows, strict=True)},
            sum(int(model.device_bytes[row]) for model, row in zip(models.values(), rows, strict=True)),
        )
        for place, rows in enumerate(front)
    ]
    return choose(candidates, weights)


def _kept(
    model: ModelEngines, speeds: Speeds, name: str, objectives: Sequence[Objective], floors: Sequence[Floor]
) -> _Kept:
    reaching = np.ones(len(model), dtype=bool)
    for floor in floors:
        if floor.objective.subject == name:
            at_most = -floor.value if floor.objective.direction == "maximize" else floor.value
            reaching &= model.posterior(floor.objective, speeds).mean <= at_most
    rows = np.flatnonzero(reaching)
    mine = [each for each in objectives if each.subject == name]
    costs = np.array([model.posterior(each, speeds).mean[rows] for each in mine]).reshape(len(mine), len(rows)).T
    best = unbeaten(np.column_stack([costs, model.device_bytes[rows]]))
    rows, costs = rows[best], costs[best]
    device_bytes = model.device_bytes[rows]
    # No two have equal costs, so one that is nowhere worse is better.
    better = (costs[None, :, :] <= costs[:, None, :]).all(axis=2) & ~np.eye(len(rows), dtype=bool)
    more_bytes = np.where(better, device_bytes[None, :] - device_bytes[:, None], np.inf)
    return _Kept(rows, device_bytes, more_bytes.min(axis=1, initial=np.inf))


def _combined(kept: Sequence[_Kept], capacity_bytes: int) -> tuple[Rows, bool]:
    """Return the combinations that fit, as places in `kept`, and whether they are all of them."""
    found, taken, whole = np.zeros((1, 0), dtype=np.intp), np.zeros(1, dtype=np.int64), True
    for model, each in enumerate(kept):
        later_bytes = sum(int(other.device_bytes.min(initial=capacity_bytes + 1)) for other in kept[model + 1 :])
        most = _MOST_PAIRS // max(1, len(each.rows))
        if len(found) > most:
            found, taken, whole = _even_part(found, most), _even_part(taken, most), False
        needed = taken[:, None] + each.device_bytes[None, :]
        before, here = np.nonzero(needed <= capacity_bytes - later_bytes)
        found, taken = np.column_stack([found[before], here]), needed[before, here]
    return found, whole


def _even_part(rows: NDArray[Any], n: int) -> NDArray[Any]:
    """Return `n` evenly spaced rows, including the first and the last."""
    return rows[np.linspace(0, len(rows) - 1, n).astype(np.intp)]


def _costs(
    rows: Rows, models: Mapping[str, ModelEngines], speeds: Mapping[str, Speeds], objective: Objective
) -> NDArray[np.float64]:
    if objective.name == VRAM_PEAK:
        columns = [model.device_bytes[rows[:, place]] for place, model in enumerate(models.values())]
        return np.asarray(np.sum(columns, axis=0), dtype=np.float64)
    mean = models[objective.subject].posterior(objective, speeds[objective.subject]).mean
    return np.asarray(mean[rows[:, list(models).index(objective.subject)]])
