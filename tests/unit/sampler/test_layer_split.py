"""Whole studies of layer-split: planned memory, speeds by the fake runner."""

from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import BaseSampler

import small_shapes
from layertune.config import Floor, Objective, StudyConfig, parse_config
from layertune.errors import Interrupted
from layertune.results.trials import front
from layertune.sampler.layer_split import LayerSplitSampler
from layertune.search.search import Search
from layertune.search.storage import open_journal
from layertune.search.task import SearchTask
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.testing import FakeRunner
from layertune.testing.fake_runner import true_tokens_per_s
from layertune.units import MIB
from planned_runner import PlannedRunner
from small_study import quiet, stored, task, with_finals

N_LAYERS = {"chat": 12, "code": 20, "third": 6}
ROOMY = 2**40  # bytes


def config(*names: str) -> StudyConfig:
    model = {
        "path": "a.gguf",
        "workload": {"n_prompt": 64, "n_generate": 16},
        "space": {"n_ctx": 1024, "n_batch": [256, 512]},
    }
    return parse_config({"models": dict.fromkeys(names, model)}, source="test", folder=Path())


def split_task(
    names: tuple[str, ...] = ("chat", "code"), capacity_bytes: int | None = 12 * MIB, **changes: Any
) -> SearchTask:
    study = config(*names)
    n_layers = {name: N_LAYERS[name] for name in names}
    space = SearchSpace.of(study, n_layers, n_threads=2, offloads=capacity_bytes is not None)
    planner = small_shapes.planner(**{name: small_shapes.shape(n_layer=n_layers[name]) for name in names})
    vram = () if capacity_bytes is None else (capacity_bytes,)
    limits = Limits(vram, 0, None, n_processes=1, file_bytes=dict.fromkeys(names, MIB))
    values = {
        "space": space,
        "feasible": FeasibleSpace(space, planner, limits),
        "limits": Limits((), 0, None, n_processes=1, file_bytes=dict.fromkeys(names, MIB)),
        "objectives": study.resolved_objectives()[: len(names)],
        "workloads": {name: model.workload for name, model in study.models.items()},
        "sampler": "layer-split",
        "initial_design": [space.smallest()],
        "n_trials": 30,
    }
    return task(**values | changes)


def runner_for(**changes: Any) -> PlannedRunner:
    feasible = split_task(**changes).feasible
    assert feasible is not None
    return PlannedRunner(feasible.planner)


def study(folder: Path, **changes: Any) -> Search:
    folder.mkdir(exist_ok=True)
    return Search(split_task(**changes), open_journal(folder), folder)


def test_it_is_a_sampler_of_optunas(tmp_path: Path) -> None:
    assert issubclass(LayerSplitSampler, BaseSampler)
    runner = runner_for()
    study(tmp_path, n_trials=5).run(runner, quiet)
    assert [trial.number for trial in stored(tmp_path).trials] == list(range(5))


def test_a_study_ends_by_itself_and_says_why(tmp_path: Path) -> None:
    runner = runner_for()
    why = study(tmp_path, n_trials=60).run(runner, quiet)
    assert "the noise of one measurement" in why
    assert len(runner.ran) < 60


def test_the_same_seed_runs_the_same_trials(tmp_path: Path) -> None:
    runners = [runner_for(), runner_for()]
    for number, runner in enumerate(runners):
        study(tmp_path / str(number), n_trials=12).run(runner, quiet)
    assert runners[0].ran == runners[1].ran


def test_the_best_baseline_is_measured_last_if_no_trial_did(tmp_path: Path) -> None:
    space, runner = split_task().space, runner_for()
    slow, fast = (space.settings({"chat.n_gpu_layers": n, "code.n_gpu_layers": n}) for n in (2, 4))
    baselines = frozenset(map(space.canonical, (slow, fast)))
    study(tmp_path, n_trials=4, baselines=baselines).run(runner, quiet)
    assert len(runner.ran) == 4
    assert space.canonical(fast) in runner.ran
    assert runner.ran[-1] == space.canonical(fast) or space.canonical(fast) in runner.ran[:-1]


def test_a_search_that_has_converged_measures_the_best_baseline_before_it_ends(tmp_path: Path) -> None:
    space, runner = split_task().space, runner_for()
    baseline = space.canonical(space.settings({"chat.n_gpu_layers": 1, "code.n_gpu_layers": 1}))
    why = study(tmp_path, n_trials=60, baselines=frozenset([baseline])).run(runner, quiet)
    assert "the noise of one measurement" in why
    assert baseline in runner.ran


def begin() -> list[SplitSettings]:
    smallest = split_task().space.smallest()
    return [smallest.with_layers("chat", n_gpu_layers) for n_gpu_layers in (0, 5, 9)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[SplitSettings]:
    """What a study runs that is never cut off."""
    runner = runner_for()
    study(tmp_path_factory.mktemp("whole"), initial_design=begin(), n_trials=60).run(runner, quiet)
    return runner.ran


@pytest.mark.parametrize("n_run", [2, 4, 6, 12])
def test_an_interrupted_study_continues_with_the_same_trials(
    whole: list[SplitSettings], n_run: int, tmp_path: Path
) -> None:
    first, rest = runner_for(), runner_for()

    def before(_settings: SplitSettings) -> None:
        if len(first.ran) == n_run:
            raise KeyboardInterrupt

    first.before = before
    with pytest.raises(Interrupted):
        study(tmp_path, initial_design=begin(), n_trials=60).run(first, quiet)
    why = study(tmp_path, initial_design=begin(), n_trials=60).run(rest, quiet)
    assert "the noise of one measurement" in why
    # Of the first ones an interrupted trial comes last, of the others next.
    assert set(first.ran[:-1] + rest.ran) == set(whole)
    assert (first.ran[:-1] + rest.ran)[3:] == whole[3:]


def test_stopping_values_of_an_earlier_sampler_do_not_stop_another_sampler(tmp_path: Path) -> None:
    study(tmp_path, n_trials=60).run(runner_for(), quiet)
    n_before = len(study(tmp_path, n_trials=60).finished())
    runner = runner_for()
    study(tmp_path, sampler="random", n_trials=n_before + 5).run(runner, quiet)
    assert len(runner.ran) == 5


@pytest.mark.parametrize("names", [("chat",), ("chat", "code", "third")])
def test_any_number_of_models_is_searched(names: tuple[str, ...], tmp_path: Path) -> None:
    runner = runner_for(names=names)
    searched = study(tmp_path, names=names, n_trials=12)
    searched.run(runner, quiet)
    assert {frozenset(settings) for settings in runner.ran} == {frozenset(names)}
    assert len(set(runner.ran)) == len(runner.ran)


def test_without_a_device_the_other_settings_are_searched(tmp_path: Path) -> None:
    runner = runner_for()
    study(tmp_path, capacity_bytes=None, n_trials=20).run(runner, quiet)
    assert {engine.n_gpu_layers for settings in runner.ran for _, engine in settings.items()} == {0}
    assert len(set(runner.ran)) == len(runner.ran) <= 4


def test_where_everything_fits_both_models_get_all_layers_soon(tmp_path: Path) -> None:
    runner = runner_for()
    study(tmp_path, capacity_bytes=ROOMY, n_trials=6).run(runner, quiet)
    assert (13, 21) in {tuple(engine.n_gpu_layers for _, engine in settings.items()) for settings in runner.ran}


def test_without_a_memory_plan_it_searches_as_tpe_does(tmp_path: Path) -> None:
    runners = [FakeRunner(250 * MIB), FakeRunner(250 * MIB)]
    for sampler, runner in zip(("tpe", "layer-split"), runners, strict=True):
        study(tmp_path / sampler, feasible=None, sampler=sampler, n_trials=12).run(runner, quiet)
    assert runners[0].ran == runners[1].ran


def test_what_reaches_a_floor_is_a_finalist_though_others_are_faster(tmp_path: Path) -> None:
    floor = Floor.parse("chat.tokens_per_s >= 20", ["chat", "code"])
    code = [Objective.named("code.tokens_per_s", ["chat", "code"])]
    searched = study(tmp_path, floors=[floor], objectives=code, n_trials=14, schedule=with_finals(3, 2))
    searched.run(runner_for(), quiet)
    assert front(searched.finished(), code, [floor])


def test_a_floor_on_the_context_is_reached_by_meeting_it(tmp_path: Path) -> None:
    floor = Floor.parse("chat.n_ctx >= 1024", ["chat", "code"])
    why = study(tmp_path, floors=[floor], n_trials=60).run(runner_for(), quiet)
    assert "the noise of one measurement" in why


def test_where_no_setting_reaches_a_floor_the_nearest_are_tried(tmp_path: Path) -> None:
    floor = Floor.parse("chat.tokens_per_s >= 1000", ["chat", "code"])
    runner = runner_for()
    study(tmp_path, floors=[floor], n_trials=10).run(runner, quiet)
    assert max(settings["chat"].n_gpu_layers for settings in runner.ran[:6]) == 13


def test_above_a_floor_the_other_model_is_made_fast(tmp_path: Path) -> None:
    floor = Floor.parse("chat.tokens_per_s >= 16", ["chat", "code"])
    code = [Objective.named("code.tokens_per_s", ["chat", "code"])]
    runner = runner_for()
    searched = study(tmp_path, floors=[floor], objectives=code, n_trials=14)
    searched.run(runner, quiet)
    best = front(searched.finished(), code, [floor])
    assert best
    assert all(true_tokens_per_s(trial.settings, "chat") >= 16 for trial in best)
    fitting = split_task()
    assert fitting.feasible is not None
    reachable = max(
        true_tokens_per_s(settings, "code")
        for settings in fitting.space.enumerate()
        if not fitting.feasible.exceeded(settings) and true_tokens_per_s(settings, "chat") >= 16
    )
    assert max(true_tokens_per_s(trial.settings, "code") for trial in best) > 0.97 * reachable
    told = stored(tmp_path).trials[0].constraints
    assert told["chat.tokens_per_s >= 16"] > 0
