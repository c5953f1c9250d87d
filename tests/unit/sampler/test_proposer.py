from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

import small_shapes
from layertune.config import StudyConfig
from layertune.results.trials import FinishedTrial
from layertune.sampler.posterior import model_engines
from layertune.sampler.proposer import Proposal, Proposer
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.initial_design import extreme_settings
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.testing.fake_runner import FakeRunner, true_tokens_per_s
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.trial.time_spent import TimeSpent
from small_study import N_LAYERS, config

SHAPES = {name: small_shapes.shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()}
PLANNER = small_shapes.planner(**SHAPES)
WHOLE_BYTES = sum(
    int(PLANNER.models[name].plan(small_shapes.engine(99)).devices["gpu0"].total_bytes or 0) for name in SHAPES
)


class At(NamedTuple):
    """A proposer, and the bytes of each device that it may use."""

    of: Proposer
    capacities: Sequence[int]


def study(
    share: float | None, study_config: StudyConfig | None = None, objectives: slice = slice(2)
) -> tuple[SearchSpace, FeasibleSpace, At]:
    """Return a study whose device holds a share of both models, or all of it; its objectives are some of both speeds
    and peak memory."""
    study_config = study_config or config()
    space = SearchSpace.of(study_config, N_LAYERS, n_threads=2)
    capacity_bytes = None if share is None else round(WHOLE_BYTES * share)
    limits = Limits((capacity_bytes,), 0, None, n_processes=2, file_bytes={"chat": 1, "code": 1})
    feasible = FeasibleSpace(space, PLANNER, limits)
    workloads = {name: model.workload for name, model in study_config.models.items()}
    models = model_engines(space, feasible, workloads)
    return space, feasible, At(Proposer(models, study_config.resolved_objectives()[objectives]), feasible.capacities)


def run(proposer: At, space: SearchSpace, first: Sequence[SplitSettings], n_trials: int) -> list[FinishedTrial]:
    runner, trials, queued = FakeRunner(cap_bytes=2**60), list[FinishedTrial](), list(first)
    for number in range(n_trials):
        settings = queued.pop(0) if queued else ask(proposer, trials).settings
        outcome = runner.run(settings, Effort(3, 3, 0.02))
        trials.append(FinishedTrial.of(number, space.canonical(settings), outcome, {}))
    return trials


def ask(proposer: At, trials: Sequence[FinishedTrial], **changes: Any) -> Proposal:
    running, generator = changes.get("running", []), np.random.default_rng(changes.get("seed", 0))
    proposal = proposer.of.propose(trials, running, proposer.capacities, generator)
    assert proposal is not None
    return proposal


def best_score(space: SearchSpace, feasible: FeasibleSpace) -> float:
    return max(score(settings) for settings in space.enumerate() if not feasible.exceeded(settings))


def score(settings: SplitSettings) -> float:
    return true_tokens_per_s(settings, "chat") * true_tokens_per_s(settings, "code")


@pytest.mark.parametrize("share", [0.4, 0.7, 1.0])
def test_a_few_trials_find_the_best_split_that_fits(share: float) -> None:
    space, feasible, proposer = study(share)
    trials = run(proposer, space, extreme_settings(space, PLANNER, feasible.capacities), 12)
    assert max(score(trial.settings) for trial in trials) > 0.97 * best_score(space, feasible)
    assert not any(feasible.exceeded(trial.settings) for trial in trials)


def test_fast_settings_are_proposed_before_settings_with_less_memory() -> None:
    space, feasible, by_speed = study(0.6)
    _space, _feasible, by_all = study(0.6, objectives=slice(3))
    trials = run(by_speed, space, extreme_settings(space, PLANNER, feasible.capacities), 30)
    proposals = [ask(by_all, trials[:n_trials]) for n_trials in range(4, 31)]
    n_fast = [each.stopping_value is not None and each.stopping_value.of_speeds for each in proposals].index(False)
    assert n_fast >= 3
    fast = [ask(by_speed, trials[:n_trials]).settings for n_trials in range(4, 4 + n_fast)]
    assert [each.settings for each in proposals[:n_fast]] == fast
    assert score(proposals[n_fast].settings) < 0.95 * best_score(space, feasible)


def test_with_memory_as_the_only_objective_the_smallest_setting_is_next() -> None:
    space, feasible, proposer = study(0.6, objectives=slice(2, 3))
    largest = extreme_settings(space, PLANNER, feasible.capacities)[-1]
    settings = ask(proposer, run(proposer, space, [largest], 1)).settings
    assert space.canonical(settings) == space.canonical(space.smallest())


def test_no_setting_is_proposed_again_or_while_another_machine_runs_it() -> None:
    space, _feasible, proposer = study(0.6)
    trials = run(proposer, space, [space.smallest()], 10)
    assert len({trial.settings for trial in trials}) == 10
    next_one = ask(proposer, trials).settings
    assert ask(proposer, trials, running=[space.canonical(next_one)]).settings != next_one


def test_without_trials_a_setting_that_fits_is_proposed() -> None:
    _space, feasible, proposer = study(0.3)
    proposal = ask(proposer, [])
    assert proposal.stopping_value is None
    assert not feasible.exceeded(proposal.settings)


def test_after_all_settings_nothing_is_proposed() -> None:
    small = config(n_gpu_layers=[0, 13], n_batch=256)
    small = small.model_copy(update={"models": {"chat": small.models["chat"]}})
    space = SearchSpace.of(small, {"chat": 12}, n_threads=2)
    limits = Limits((), 0, None, n_processes=1, file_bytes={"chat": 1})
    feasible = FeasibleSpace(space, replace(PLANNER, models={"chat": PLANNER.models["chat"]}), limits)
    workloads = {"chat": small.models["chat"].workload}
    proposer = At(Proposer(model_engines(space, feasible, workloads), small.resolved_objectives()), feasible.capacities)
    trials = run(proposer, space, [], 2)
    assert {trial.settings["chat"].n_gpu_layers for trial in trials} == {0, 13}
    assert proposer.of.propose(trials, [], proposer.capacities, np.random.default_rng(0)) is None


def test_where_models_take_long_to_load_the_split_changes_less_often() -> None:
    def loads(load_s: float) -> int:
        space, _feasible, proposer = study(0.6, config(n_batch=[16, 32, 64]))  # of these a prompt of 64 can tell
        runner, trials = FakeRunner(cap_bytes=2**60), list[FinishedTrial]()
        settings = space.smallest()
        for number in range(20):
            outcome = runner.run(settings, Effort(3, 3, 0.02))
            assert isinstance(outcome, Measured)
            reports = {name: replace(report, load_s=load_s) for name, report in outcome.models.items()}
            timed = replace(outcome, models=reports, clock=TimeSpent(measure_s=1.0))
            trials.append(FinishedTrial.of(number, space.canonical(settings), timed, {}))
            settings = ask(proposer, trials).settings
        pairs = pairwise(trials)
        return sum(
            one.settings[name].n_gpu_layers != next_one.settings[name].n_gpu_layers
            for one, next_one in pairs
            for name in N_LAYERS
        )

    assert loads(100.0) < loads(0.001)


def test_the_missing_share_becomes_smaller_with_more_trials() -> None:
    space, _feasible, proposer = study(0.6)
    trials = run(proposer, space, [space.smallest()], 25)
    values = [ask(proposer, trials[:n_trials]).stopping_value for n_trials in (8, 25)]
    assert values[0] is not None
    assert values[1] is not None
    assert values[0].missing > values[1].missing


def test_the_longest_that_a_workload_may_take_is_near_what_was_measured_and_unknown_before() -> None:
    space, _, proposer = study(1.0)
    first = space.canonical(space.smallest())
    assert proposer.of.slowest_s(first, []) == {}
    trials = run(proposer, space, [first], 6)
    longest = proposer.of.slowest_s(first, trials)
    assert longest.keys() == {"chat", "code"}
    outcome = trials[0].outcome
    assert isinstance(outcome, Measured)
    for name, each_s in longest.items():
        samples = outcome.models[name].samples
        workload = config().models[name].workload
        took_s = workload.n_prompt / samples.pp_tokens_per_s[0] + workload.n_generate / samples.tg_tokens_per_s[0]
        assert took_s * 0.8 < each_s < took_s * 2
