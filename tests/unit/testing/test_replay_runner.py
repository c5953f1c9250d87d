"""That a replay obeys the seam of trial runners, tests/contract says."""

from collections.abc import Sequence
from math import exp
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage

import small_study
from layertune.search.search import Search
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import VRAM, Limits
from layertune.testing import ReplayRunner
from layertune.testing.recorded_noise import RecordedNoise
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress
from layertune.trial.outcome import Infeasible, Measured, TrialOutcome
from layertune.units import GIB, MIB
from small_table import table

NOISY = table(loads=(0.95, 1.0, 1.02), repeats=(0.99, 1.0, 1.03))
QUIET = table()
THREE = Effort(3, 3, 0.02, warm_up_s=0.5, repeat_together=False)


def split(chat: int, code: int) -> SplitSettings:
    return QUIET.space.smallest().with_layers("chat", chat).with_layers("code", code)


def speeds(outcome: TrialOutcome, model: str = "chat") -> Sequence[float]:
    assert isinstance(outcome, Measured)
    return outcome.models[model].samples.tg_tokens_per_s


def test_the_same_seed_gives_the_same_outcomes_and_each_run_its_own() -> None:
    order = [split(5, 2), split(5, 2), split(31, 0), split(0, 0)]
    first, again, other = (
        [runner.run(settings, THREE) for settings in order]
        for runner in (ReplayRunner(NOISY, GIB, 7), ReplayRunner(NOISY, GIB, 7), ReplayRunner(NOISY, GIB, 8))
    )
    assert first == again
    assert first != other
    assert speeds(first[0]) != speeds(first[1])


def test_noise_is_drawn_from_the_tables_residuals_only() -> None:
    noise, truth = RecordedNoise.of(NOISY, "chat"), NOISY.true_metrics(split(5, 2)).models["chat"]
    possible = {
        round(truth.tg_tokens_per_s * exp(load) * exp(repeat), 9)
        for _, load in noise.loads
        for _, repeat in noise.repeats
    }
    runner = ReplayRunner(NOISY, GIB)
    found = {round(each, 9) for _ in range(300) for each in speeds(runner.run(split(5, 2), THREE))}
    assert found <= possible
    assert len(found) == len(possible)


def test_without_noise_a_replay_gives_the_true_values_and_planned_bytes() -> None:
    outcome, truth = ReplayRunner(QUIET, GIB).run(split(31, 2), THREE), QUIET.true_metrics(split(31, 2))
    assert isinstance(outcome, Measured)
    assert outcome.vram is not None
    assert outcome.vram.peak_bytes == truth.peak_bytes == 330 * MIB
    for name, speed in truth.models.items():
        samples = outcome.models[name].samples
        assert samples.tokens_per_s == pytest.approx((speed.tokens_per_s,) * 3)
        assert samples.pp_tokens_per_s == pytest.approx((speed.pp_tokens_per_s,) * 3)
        assert samples.ttft_s == pytest.approx((speed.ttft_s,) * 3)
        assert samples.tokens_per_s_together == pytest.approx((speed.tokens_per_s / 2,))


def test_over_the_cap_is_infeasible_by_the_excess_and_says_who_no_longer_fits() -> None:
    runner = ReplayRunner(QUIET, 300 * MIB)
    second, first = runner.run(split(5, 19), THREE), runner.run(split(31, 0), THREE)
    assert isinstance(second, Measured)  # 240 MiB
    assert isinstance(first, Infeasible)
    assert (first.model, first.excess_bytes) == ("chat", 10 * MIB)
    last = ReplayRunner(QUIET, 200 * MIB).run(split(5, 19), THREE)
    assert isinstance(last, Infeasible)
    assert (last.model, last.excess_bytes) == ("code", 40 * MIB)


def test_only_models_whose_layers_changed_load_again_and_a_refusal_unloads_all() -> None:
    runner = ReplayRunner(QUIET, 300 * MIB)
    order = [split(5, 2), split(5, 2), split(5, 0), split(31, 0), split(5, 0)]
    loads = []
    for settings in order:
        before = runner.spent
        runner.run(settings, THREE)
        loads.append(runner.spent.load_s - before.load_s)
    assert loads == pytest.approx([6 + 3, 0, 1, 32, 6 + 1])
    assert runner.ran == order


def test_what_is_prepared_is_loaded_already_until_all_is_let_go() -> None:
    runner = ReplayRunner(QUIET, GIB)
    runner.prepare(split(5, 2))
    assert runner.spent.total_s == 9
    runner.run(split(5, 2), THREE)
    assert runner.spent.load_s == 9
    runner.close()
    runner.run(split(5, 2), THREE)
    assert runner.spent.load_s == 18


def test_the_time_of_a_run_is_that_of_its_repetitions() -> None:
    runner = ReplayRunner(QUIET, GIB)
    outcome = runner.run(split(5, 2), THREE)
    assert isinstance(outcome, Measured)
    each = {name: speed.duration_s for name, speed in QUIET.true_metrics(split(5, 2)).models.items()}
    assert outcome.clock.measure_s == pytest.approx(3 * sum(each.values()) + 2 * max(each.values()))
    assert 0.5 <= outcome.clock.warm_up_s < 0.5 + sum(each.values())
    assert outcome.duration_s == pytest.approx(runner.spent.total_s)


def test_a_beaten_run_is_given_up_with_what_it_has() -> None:
    told: list[Progress] = []

    def give_up(progress: Progress) -> str | None:
        told.append(progress)
        return "enough" if len(told) == 2 else None

    outcome = ReplayRunner(NOISY, GIB).run(split(5, 2), Effort(2, 9, 1e-9), give_up)
    assert isinstance(outcome, Measured)
    assert [len(each.models["code"].tokens_per_s) for each in told] == [2, 3]
    assert (outcome.stopped, len(speeds(outcome)), told[0].used_bytes) == ("enough", 3, 70 * MIB)


@pytest.mark.parametrize("cap_bytes", [MIB, 100 * MIB, GIB])
@pytest.mark.parametrize("planned", [True, False])
def test_a_search_runs_on_a_table_for_any_cap(tmp_path: Path, cap_bytes: int, planned: bool) -> None:
    limits = Limits((cap_bytes,), 0, None, n_processes=2, file_bytes=dict.fromkeys(NOISY.n_layers, 0))
    feasible = FeasibleSpace(NOISY.space, NOISY.planner, limits) if planned else None
    task = small_study.task(space=NOISY.space, limits=limits, feasible=feasible, n_trials=9)
    search, runner = Search(task, InMemoryStorage(), tmp_path), ReplayRunner(NOISY, cap_bytes, task.seed)
    search.run(runner, small_study.quiet)
    fitting = {each for each in NOISY.space.enumerate() if NOISY.peak_bytes(each) <= cap_bytes}
    measured = {trial.settings for trial in search.finished() if trial.feasible() is not None}
    assert measured <= fitting
    if planned:
        assert set(runner.ran) <= fitting
    if cap_bytes == GIB:
        assert measured == fitting
    refused = [trial for trial in search.finished() if trial.feasible() is None]
    assert {trial.violations[VRAM] for trial in refused} == {
        NOISY.peak_bytes(each.settings) - cap_bytes for each in refused
    }
