"""What is measured before the sampler chooses."""

import pytest

import small_shapes
from layertune.results.summary import Baseline
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.initial_design import extreme_settings, initial_design
from layertune.space.limits import Limits
from layertune.units import MIB
from small_study import N_LAYERS, space

SPACE = space()
PLANNER = small_shapes.planner(**{name: small_shapes.shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()})
CAPACITIES = (6 * MIB,)


@pytest.fixture
def feasible() -> FeasibleSpace:
    limits = Limits(CAPACITIES, 0, None, n_processes=2, file_bytes={"chat": 1, "code": 1})
    return FeasibleSpace(SPACE, PLANNER, limits)


def with_layers(chat: int, code: int) -> SplitSettings:
    return SPACE.settings({"chat.n_gpu_layers": chat, "code.n_gpu_layers": code})


def test_the_least_setting_comes_first_then_what_is_expected_to_be_best(feasible: FeasibleSpace) -> None:
    best = [with_layers(5, 2), with_layers(9, 0), with_layers(5, 2)]
    found = initial_design(SPACE, feasible, CAPACITIES, best, [])
    assert found == [SPACE.smallest(), *best[:2]]


def test_what_does_not_fit_is_left_out_and_named_baselines_come_last(feasible: FeasibleSpace) -> None:
    named = [Baseline("mine", with_layers(2, 2), "from the config"), Baseline("none", None, "a rule without a setting")]
    found = initial_design(SPACE, feasible, CAPACITIES, [with_layers(13, 21), with_layers(4, 0)], named)
    assert found == [SPACE.smallest(), with_layers(4, 0), with_layers(2, 2)]


def test_without_expectations_the_extreme_settings_are_measured(feasible: FeasibleSpace) -> None:
    found = initial_design(SPACE, feasible, CAPACITIES, [], [])
    assert set(found) == {each for each in extreme_settings(SPACE, PLANNER, CAPACITIES) if not feasible.exceeded(each)}
    assert initial_design(SPACE, None, CAPACITIES, [], []) == [SPACE.smallest()]
