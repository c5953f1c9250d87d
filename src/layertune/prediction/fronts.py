"""The front of what is expected: every setting that fits, by the means of the models' speeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from layertune.config import Floor, Objective
from layertune.config.objective import VRAM_PEAK
from layertune.results.picks import Candidate, choose
from layertune.search.candidates import Rows, combinations, promising, unbeaten
from layertune.search.speeds import Figure, ModelEngines, Speeds


def expected_front(
    models: Mapping[str, ModelEngines],
    speeds: Mapping[str, Speeds],
    objectives: Sequence[Objective],
    floors: Sequence[Floor],
    room_bytes: int,
) -> Rows:
    """Return the settings that fit, reach the floors, and that no other dominates: a row a setting, of each model's
    engine; the fastest in the first objective come first."""
    kept = [_promising(model, speeds[name], name, objectives, floors) for name, model in models.items()]
    # The same part of very many combinations each time.
    candidates = combinations(
        [model.device_bytes for model in models.values()], kept, room_bytes, np.random.default_rng(0)
    )
    for floor in floors:
        place = list(models).index(floor.objective.subject)
        cost = speeds[floor.objective.subject].figure(floor.objective.quantity).mean
        at_most = -floor.value if floor.objective.direction == "maximize" else floor.value
        candidates = candidates[cost[candidates[:, place]] <= at_most]
    costs = [_costs(candidates, models, speeds, objective) for objective in objectives]
    front = candidates[unbeaten(np.stack(costs, axis=1))]
    return front[np.argsort(_costs(front, models, speeds, objectives[0]), kind="stable")]


def expected_picks(
    front: Rows, models: Mapping[str, ModelEngines], speeds: Mapping[str, Speeds], weights: Mapping[str, float]
) -> dict[str, int]:
    """Return each pick's place on the front; empty without one."""
    rates = {name: -speeds[name].figure("tokens_per_s").mean for name in models}
    candidates = [
        Candidate(
            place,
            {name: float(rates[name][row]) for name, row in zip(models, rows, strict=True)},
            sum(int(model.device_bytes[row]) for model, row in zip(models.values(), rows, strict=True)),
        )
        for place, rows in enumerate(front)
    ]
    return choose(candidates, weights)


def _promising(
    model: ModelEngines, speeds: Speeds, name: str, objectives: Sequence[Objective], floors: Sequence[Floor]
) -> Rows:
    wanted = [*objectives, *(floor.objective for floor in floors)]
    means = [speeds.figure(each.quantity).mean for each in wanted if each.subject == name]
    if not means:
        return np.arange(len(model))
    return promising(model.device_bytes, [Figure(mean, np.zeros_like(mean)) for mean in means])


def _costs(
    rows: Rows, models: Mapping[str, ModelEngines], speeds: Mapping[str, Speeds], objective: Objective
) -> NDArray[np.float64]:
    if objective.name == VRAM_PEAK:
        columns = [model.device_bytes[rows[:, place]] for place, model in enumerate(models.values())]
        return np.asarray(np.sum(columns, axis=0), dtype=np.float64)
    mean = speeds[objective.subject].figure(objective.quantity).mean
    return np.asarray(mean[rows[:, list(models).index(objective.subject)]])
