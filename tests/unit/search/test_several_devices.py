"""Search over two devices: planned memory on each of them, speeds by the fake runner."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import small_shapes
from layertune.config import StudyConfig, parse_config
from layertune.errors import NothingFits
from layertune.results.trials import FinishedTrial
from layertune.sampler.distributions import distributions
from layertune.search.search import Search
from layertune.search.storage import open_journal
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace, learned_correction
from layertune.space.initial_design import extreme_settings
from layertune.space.limits import VRAM, Limits
from layertune.space.search_space import SearchSpace, tensor_splits
from layertune.testing import measured
from layertune.units import GIB, MIB
from planned_runner import PlannedRunner, report
from small_study import quiet, task

N_LAYERS = {"chat": 5, "code": 8}
PLANNER = small_shapes.planner(2, **{name: small_shapes.shape(n_layer=n) for name, n in N_LAYERS.items()})
ROOMY = (10 * MIB, 10 * MIB)


def config(**space: Any) -> StudyConfig:
    model = {"path": "a.gguf", "workload": {"n_prompt": 64, "n_generate": 16}}
    space = {"n_ctx": 1024, "n_batch": 256} | space
    models = dict.fromkeys(N_LAYERS, model | {"space": space})
    return parse_config({"device": "emulated:4GiB+2GiB", "models": models}, source="test", folder=Path())


def space_of(*capacities: int, **space: Any) -> SearchSpace:
    return SearchSpace.of(config(**space), N_LAYERS, n_threads=2, capacities=capacities)


def limits(*vram: int, n_processes: int = 1) -> Limits:
    return Limits(vram, 0, None, n_processes=n_processes, file_bytes=dict.fromkeys(N_LAYERS, 2**40))


def device_bytes(each: SplitSettings) -> tuple[int, ...]:
    planned = PLANNER.plan(each)
    return tuple((planned.bytes_on(device) or 0) + planned.log_error_bytes for device in planned.devices)


def test_by_itself_the_search_splits_by_size_and_gives_each_device_all() -> None:
    assert tensor_splits(None, [4 * GIB, 2 * GIB]) == ("2,1", "1,0", "0,1")
    assert tensor_splits(None, [GIB, GIB, GIB]) == ("1,1,1", "1,0,0", "0,1,0", "0,0,1")
    assert tensor_splits(None, [6141 * MIB + 1, 8 * GIB]) == ("6141,8192", "1,0", "0,1")
    assert tensor_splits([(3.0, 1.0), (1.0, 1.0), (3.0, 1.0)], [GIB, GIB]) == ("3,1", "1,1")
    assert tensor_splits(None, [GIB]) == tensor_splits(None, []) == ()


def test_a_split_is_a_parameter_in_llama_servers_own_words() -> None:
    space = space_of(4 * GIB, 2 * GIB)
    assert distributions(space)["chat.tensor_split"].choices == ("2,1", "1,0", "0,1")
    for each in space.shuffled(1):
        assert space.settings(space.params(each)) == each
    found = space.baseline("b", {"code": {"tensor_split": "0,1", "n_gpu_layers": 4}})["code"]
    assert found.canonical(8).tensor_split == (0.0, 4.0)


def test_with_one_device_there_is_no_such_dimension() -> None:
    assert not [each for each in space_of(4 * GIB).dimensions if each.field == "tensor_split"]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, MIB), st.integers(0, MIB))
def test_exactly_the_settings_that_fit_both_devices_are_counted_and_yielded(first: int, second: int) -> None:
    space = space_of(2 * MIB, MIB)
    feasible = FeasibleSpace(space, PLANNER, limits(first, second))
    fitting = [
        each
        for each in space.enumerate()
        if all(n <= m for n, m in zip(device_bytes(each), (first, second), strict=True))
    ]
    assert set(feasible.shuffled(1)) == set(fitting)
    assert feasible.n_settings() == len(fitting)
    for each in fitting[:5]:
        assert not feasible.exceeded(each)


def test_the_fullest_device_is_what_a_setting_exceeds_the_budget_by() -> None:
    space = space_of(MIB, MIB)
    each = space.settings({"chat.n_gpu_layers": 6, "code.n_gpu_layers": 9, "chat.tensor_split": "0,1"})
    first, second = device_bytes(each)
    feasible = FeasibleSpace(space, PLANNER, limits(first + 5, second - 3))
    assert feasible.violations(each)[VRAM] == 3
    assert FeasibleSpace(space, PLANNER, limits(first + 5, second + 2)).violations(each)[VRAM] == -2


def test_nothing_fits_says_what_each_device_would_have_to_hold() -> None:
    space = space_of(MIB, MIB, n_gpu_layers=[4, 5])
    with pytest.raises(
        NothingFits, match=r"budget of 1.0 KiB \+ 2.0 KiB: the smallest is planned to need \S+ \SiB \+ "
    ):
        FeasibleSpace(space, PLANNER, limits(1024, 2048)).check()


def test_an_extreme_setting_uses_the_split_that_holds_most_layers() -> None:
    space = space_of(MIB, MIB)
    wanted = space.settings({"code.n_gpu_layers": 9, "code.tensor_split": "0,1"})
    smallest, _, code = extreme_settings(space, PLANNER, device_bytes(wanted))
    assert smallest == space.smallest()
    assert (code["code"].n_gpu_layers, code["code"].tensor_split) == (9, (0.0, 1.0))


def test_the_overhead_of_one_device_is_reserved_on_every_device() -> None:
    space = space_of(*ROOMY)
    each = space.settings({"chat.n_gpu_layers": 6, "code.n_gpu_layers": 9})
    first, second = device_bytes(each)
    feasible = FeasibleSpace(space, PLANNER, limits(*ROOMY, n_processes=2))
    outcome = replace(measured(each), vram=report([first + 1000, second + 3000], scope="process"))
    correction = learned_correction(PLANNER, [FinishedTrial.of(0, each, outcome, {})], limits(*ROOMY, n_processes=2))
    assert feasible.corrected(correction).capacities == tuple(n_bytes - 2 * 3000 for n_bytes in ROOMY)


def test_a_measured_trial_is_over_where_one_of_its_devices_is() -> None:
    each = space_of(*ROOMY).smallest()
    outcome = replace(measured(each), vram=report([70, 30]))
    assert limits(100, 25).violations(each, outcome)[VRAM] == 5
    assert limits(60, 60).violations(each, outcome)[VRAM] == 10
    assert limits(80, 40).violations(each, outcome)[VRAM] == -10


@pytest.mark.parametrize("sampler", ["layer-split", "tpe", "random"])
def test_a_search_over_two_devices_runs_to_its_end_and_keeps_both_budgets(tmp_path: Path, sampler: str) -> None:
    study, capacities = config(), (900_000, 500_000)
    space = space_of(*capacities)
    feasible = FeasibleSpace(space, PLANNER, limits(*capacities))
    runner = PlannedRunner(PLANNER)
    search = Search(
        task(
            space=space,
            feasible=feasible,
            limits=limits(*capacities),
            objectives=study.resolved_objectives(),
            workloads={name: model.workload for name, model in study.models.items()},
            sampler=sampler,
            initial_design=extreme_settings(space, PLANNER, capacities),
            n_trials=25,
        ),
        open_journal(tmp_path),
        tmp_path,
    )
    search.run(runner, quiet)
    trials = search.finished()
    assert 5 < len(trials) <= 25
    assert all(trial.violations[VRAM] <= 0 for trial in trials)
    assert len({trial.settings for trial in trials}) == len(trials)
    splits = {engine.tensor_split for trial in trials for _, engine in trial.settings.items()}
    assert any(min(split) > 0 for split in splits if split)
