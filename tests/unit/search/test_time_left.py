"""How long a search still takes, told from its first trial on."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from layertune.results.trials import FinishedTrial, RoundStage
from layertune.search.finals import RoundMeasured
from layertune.search.task import ReferenceMeasured, TrialFinished, TrialStarted
from layertune.search.time_left import N_VALIDATED, TimeLeft
from layertune.testing import measured
from layertune.trial.time_spent import TimeSpent
from small_study import space, task, with_finals

SETTINGS = space().settings({"chat.n_gpu_layers": 5, "code.n_gpu_layers": 5})


def clock(step_s: float) -> Iterator[float]:
    now_s = 0.0
    while True:
        yield now_s
        now_s += step_s


def trial(n_finished: int, n_contenders: int = 3, noise: float = 0.06) -> TrialFinished:
    trial = FinishedTrial.of(n_finished, SETTINGS, measured(SETTINGS), {})
    return TrialFinished(trial, n_finished, n_contenders=n_contenders, noise=noise)


def load(stage: RoundStage, n_left: int, n_contenders: int) -> RoundMeasured:
    return RoundMeasured(stage, 0, 0, n_left, n_contenders, measured(SETTINGS))


def left(n_confirming: int = 4, **changes: object) -> TimeLeft:
    schedule = with_finals(6, 5, n_confirming=n_confirming)
    ticks = clock(10.0)
    return TimeLeft(task(schedule=schedule, n_trials=12, sampler="random", **changes), now=lambda: next(ticks))


def test_before_the_first_trial_nothing_is_known() -> None:
    assert left().seconds() is None


def test_trials_finals_and_validation_runs_are_all_counted() -> None:
    estimate = left()
    for n_finished in (1, 2, 3):
        estimate.on_event(trial(n_finished, n_contenders=4))
    assert (estimate.n_trials_left(), estimate.n_loads_left()) == (9, (8, 8))
    assert estimate.seconds() == pytest.approx((9 + 16) * 10.0)


def test_the_warm_up_and_the_reference_before_a_trial_are_not_part_of_its_time() -> None:
    estimate = left()
    estimate.on_event(ReferenceMeasured(None))
    estimate.on_event(TrialStarted(0, SETTINGS, 0))
    estimate.on_event(trial(1, n_contenders=0))
    assert estimate.seconds() == pytest.approx((11 + 8) * 10.0)


def test_the_finals_are_counted_by_their_contenders() -> None:
    estimate = left()
    for n_finished in range(1, 8):
        estimate.on_event(trial(n_finished))
    found = []
    for n_left, n_contenders in [(2, 3), (1, 3), (0, 2), (1, 2), (0, 0)]:
        estimate.on_event(load("finals", n_left, n_contenders))
        found.append(estimate.n_loads_left())
    assert found == [(2 + 3, 8), (1 + 3, 8), (2, 8), (1 + 2, 8), (0, 8)]
    assert estimate.n_trials_left() == 0
    estimate.on_event(load("validation", 1, 2))
    assert estimate.n_loads_left() == (0, 7)


def test_a_noisier_machine_needs_more_rounds_of_the_finals() -> None:
    found = []
    for noise in (0.0, 0.06, 1.0):
        estimate = left()
        estimate.on_event(trial(1, n_contenders=4, noise=noise))
        found.append(estimate.n_loads_left()[0])
    assert found == [4, 8, 4 * 6]


def test_a_time_limit_bounds_what_is_left() -> None:
    estimate = left(timeout_s=60.0)
    estimate.on_event(trial(1))
    assert estimate.seconds() == pytest.approx(60.0 - 20.0)


def test_without_finals_only_trials_are_left() -> None:
    schedule = with_finals(0, n_confirming=4)
    estimate = TimeLeft(task(schedule=schedule, n_trials=3, sampler="random"))
    assert (estimate.n_trials_left(), estimate.n_loads_left()) == (3, (0, 0))


def test_the_validation_runs_take_as_long_as_their_repetitions() -> None:
    estimate = left()
    outcome = replace(measured(SETTINGS), clock=TimeSpent(measure_s=6.0))  # of 10 s
    estimate.on_event(TrialFinished(FinishedTrial.of(0, SETTINGS, outcome, {}), 1))
    of_validation = 2 * with_finals(6, 5).finals_effort.min_repeats
    n_repetitions = len(outcome.models["chat"].samples.tokens_per_s) + len(
        outcome.models["chat"].samples.tokens_per_s_together
    )
    next_to_prefill = 2 * N_VALIDATED * min(3, 4)
    repetitions = 11 * n_repetitions + 8 * of_validation + next_to_prefill
    assert estimate.seconds() == pytest.approx((11 + 8) * 4.0 + repetitions * 6.0 / n_repetitions)


def test_contexts_that_validation_runs_fill_are_counted_until_they_are_filled() -> None:
    with_depth = with_finals(6, 5, n_confirming=4)
    deep = replace(with_depth, finals_effort=replace(with_depth.finals_effort, at_depth={"chat": 60.0}))
    ticks = clock(10.0)
    estimates = [left(), TimeLeft(task(schedule=deep, n_trials=12, sampler="random"), now=lambda: next(ticks))]
    for each in estimates:
        each.on_event(trial(1))
    without_s, with_s = (each.seconds() or 0.0 for each in estimates)
    pp_tokens_per_s = measured(SETTINGS).models["chat"].samples.pp_tokens_per_s[0]
    assert with_s - without_s == pytest.approx(2 * 2 * SETTINGS["chat"].n_ctx_slot / pp_tokens_per_s)
    for n_left in (1, 0):
        for each in estimates:
            each.on_event(load("validation", n_left, 2))
    without_s, with_s = (each.seconds() or 0.0 for each in estimates)
    assert with_s == without_s


def test_a_context_that_takes_too_long_to_fill_is_not_counted() -> None:
    schedule = with_finals(6, 5, n_confirming=4)
    deep = replace(schedule, finals_effort=replace(schedule.finals_effort, at_depth={"chat": 1e-9}))
    ticks = clock(10.0)
    estimates = [left(), TimeLeft(task(schedule=deep, n_trials=12, sampler="random"), now=lambda: next(ticks))]
    for each in estimates:
        each.on_event(trial(1))
    assert estimates[0].seconds() == estimates[1].seconds()
