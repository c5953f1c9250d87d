"""The front of what is expected, held against every combination of engines there is."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from layertune.config import Floor, Objective
from layertune.prediction.expected_front import expected_front
from layertune.results.pareto import pareto_front
from layertune.sampler.speeds import Speeds
from linear_machine import Machine, feasible, study

MODELS = study(Machine(), [(0, 0), (13, 21)]).models
ALONE = Objective("chat.tokens_per_s", "maximize"), Objective("code.tokens_per_s", "maximize")
VRAM = Objective("vram.peak_bytes", "minimize")
TTFT = Objective("code.ttft_s", "minimize")


def rough(seed: int) -> dict[str, Speeds]:
    """Return speeds that follow no line: more layers are not always faster, and some engines are equals."""
    generator = np.random.default_rng(seed)
    learned = {name: model.learn([(0, Machine().samples(name, model.engines[0]))]) for name, model in MODELS.items()}

    def times(n: int) -> NDArray[np.float64]:
        return generator.integers(5, 25, n) / 100

    return {
        name: replace(
            speeds,
            prompt=replace(speeds.prompt, mean_s=times(len(MODELS[name]))),
            token=replace(speeds.token, mean_s=times(len(MODELS[name]))),
        )
        for name, speeds in learned.items()
    }


# Every combination, a row each, of the models' engines.
ALL = np.array(list(product(*(range(len(model)) for model in MODELS.values()))))


def costs(speeds: dict[str, Speeds], rows: NDArray[np.intp], *objectives: Objective) -> NDArray[np.float64]:
    """Return a row for each setting, less being better."""
    of_model = dict(zip(MODELS, rows.T, strict=True))
    n_bytes = sum(MODELS[name].device_bytes[of_model[name]] for name in MODELS)
    columns = [
        n_bytes if each is VRAM else speeds[each.subject].posterior(each.quantity).mean[of_model[each.subject]]
        for each in objectives
    ]
    return np.stack(columns, axis=1).astype(float)


@pytest.mark.parametrize("objectives", [ALONE, (*ALONE, VRAM), (ALONE[0], TTFT, VRAM), (ALONE[0],), (VRAM,)])
@pytest.mark.parametrize("floor", ["", "code.ttft_s <= 0.15"])
def test_the_front_is_that_of_all_combinations(objectives: tuple[Objective, ...], floor: str) -> None:
    speeds, capacity_bytes = rough(1), feasible(0.4).capacity_bytes
    floors = [Floor.parse(floor, list(MODELS))] if floor else []
    fitting = ALL[costs(speeds, ALL, VRAM)[:, 0] <= capacity_bytes]
    for each in floors:
        fitting = fitting[costs(speeds, fitting, each.objective)[:, 0] <= each.value]
    all_costs = costs(speeds, fitting, *objectives)
    best = {tuple(each) for each in all_costs[pareto_front(all_costs, ["minimize"] * len(objectives))].tolist()}
    front = expected_front(MODELS, speeds, objectives, floors, capacity_bytes)
    found = [tuple(each) for each in costs(speeds, front.rows, *objectives).tolist()]
    assert front.whole
    assert set(found) == best
    assert len(found) == len(best)
    assert [each[0] for each in found] == sorted(each[0] for each in found)


def test_of_a_front_of_very_many_settings_an_even_part_is_kept_and_said() -> None:
    """Four models' 14 steps each, every one of them worth its bytes."""
    models = {f"m{number}": MODELS["chat"] for number in range(4)}
    speeds = dict.fromkeys(models, study_speeds())
    objectives = [*(Objective(f"{name}.tokens_per_s", "maximize") for name in models), VRAM]
    front = expected_front(models, speeds, objectives, [], 10**12)
    assert not front.whole
    assert front.rows.shape == (20_000, 4)
    cost = speeds["m0"].posterior("tokens_per_s").mean
    assert cost[front.rows[0, 0]] == cost.min()


def study_speeds() -> Speeds:
    model = MODELS["chat"]
    return model.learn([(row, Machine().samples("chat", engine)) for row, engine in enumerate(model.engines)])
