"""What something disturbed is measured again, kept, and told."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finalists import split
from layertune.errors import Interrupted
from layertune.search.schedule import Schedule
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.trial.effort import Effort
from layertune.trial.outcome import OUTCOME, Failed, Infeasible, Measured, TrialOutcome
from layertune.trial.runners import measure_undisturbed
from small_study import TRIALS, quiet, search, space, stored

SETTINGS = split(3, "chat", "code")
REFUSED = Infeasible("load", "chat", "no room", 5, 0.1)
CRASHED = Failed("crashed", "SIGSEGV", (), 0.1)
SLOW = Failed("slow", "cut short: 9 times too slow", (), 80.0)


def measure(runner: FakeRunner, n_attempts: int, keep: Callable[[Measured], None]) -> TrialOutcome:
    return measure_undisturbed(runner, SETTINGS, TRIALS, n_attempts, keep)


def test_a_quiet_measurement_stands_at_once() -> None:
    runner, kept = FakeRunner(), list[Measured]()
    outcome = measure(runner, 3, kept.append)
    assert isinstance(outcome, Measured)
    assert outcome.warnings == ()
    assert (len(runner.ran), kept) == (1, [])


def test_a_disturbed_measurement_is_made_again_kept_and_told() -> None:
    runner, kept = FakeRunner(disturbances={0: "another program took 1 GiB"}), list[Measured]()
    outcome = measure(runner, 3, kept.append)
    assert isinstance(outcome, Measured)
    assert outcome.disturbances == ()
    assert outcome.warnings == ("measured again, since another program took 1 GiB",)
    assert [each.disturbances for each in kept] == [("another program took 1 GiB",)]
    assert runner.ran == [SETTINGS, SETTINGS]


def test_the_last_attempt_stands_and_says_that_it_was_disturbed_too() -> None:
    runner, kept = FakeRunner(disturbances={0: "noise", 1: "more noise"}), list[Measured]()
    outcome = measure(runner, 2, kept.append)
    assert isinstance(outcome, Measured)
    assert outcome.disturbances == ("more noise",)
    assert outcome.warnings == ("measured again, since noise",)
    assert len(kept) == 1


@given(st.sets(st.integers(0, 5)), st.integers(1, 5))
def test_attempts_end_with_the_first_quiet_one_or_the_last(disturbed: set[int], n_attempts: int) -> None:
    runner, kept = FakeRunner(disturbances={n_run: f"noise {n_run}" for n_run in disturbed}), list[Measured]()
    outcome = measure(runner, n_attempts, kept.append)
    first_quiet = next(n_run for n_run in range(9) if n_run not in disturbed)
    n_runs = min(first_quiet + 1, n_attempts)
    assert len(runner.ran) == n_runs
    assert isinstance(outcome, Measured)
    assert bool(outcome.disturbances) == (first_quiet >= n_attempts)
    assert outcome.warnings == tuple(f"measured again, since noise {n_run}" for n_run in range(n_runs - 1))
    assert len(kept) == n_runs - 1


@pytest.mark.parametrize("outcome", [REFUSED, CRASHED])
def test_what_was_not_measured_is_not_tried_again(outcome: TrialOutcome) -> None:
    runner = FakeRunner(outcomes={0: outcome})
    assert measure(runner, 3, list[Measured]().append) == outcome
    assert len(runner.ran) == 1


def test_a_trial_that_was_cut_short_is_tried_again_and_that_is_told() -> None:
    runner = FakeRunner(outcomes={0: SLOW})
    outcome = measure(runner, 2, list[Measured]().append)
    assert isinstance(outcome, Measured)
    assert outcome.warnings == ("measured again, since cut short: 9 times too slow",)


def test_a_trial_that_is_cut_short_in_every_attempt_has_failed() -> None:
    runner = FakeRunner(outcomes={0: SLOW, 1: SLOW})
    assert measure(runner, 2, list[Measured]().append) == SLOW
    assert len(runner.ran) == 2


def test_trials_are_measured_once_while_the_machine_stays_busy(tmp_path: Path) -> None:
    runner = FakeRunner(disturbances=dict.fromkeys(range(4), "noise"))
    search(tmp_path, n_trials=5, schedule=Schedule(n_attempts=2)).run(runner, quiet)
    n_runs = [sum(ran == settings for ran in runner.ran) for settings in dict.fromkeys(runner.ran)]
    assert n_runs == [2, 1, 1, 1, 1]


@pytest.mark.parametrize("outcome", [REFUSED, CRASHED])
def test_a_second_attempt_that_is_not_measured_stands_too(outcome: TrialOutcome) -> None:
    runner, kept = FakeRunner(disturbances={0: "noise"}, outcomes={1: outcome}), list[Measured]()
    assert measure(runner, 3, kept.append) == outcome
    assert len(kept) == 1


def test_every_attempt_has_the_same_effort_and_may_be_given_up() -> None:
    runner = FakeRunner(disturbances={0: "noise"})
    effort = Effort(1, 4, 0.001)
    outcome = measure_undisturbed(runner, SETTINGS, effort, 2, list[Measured]().append, lambda _progress: "beaten")
    assert isinstance(outcome, Measured)
    assert outcome.stopped == "beaten"
    assert runner.efforts == [effort, effort]


def test_a_study_keeps_the_disturbed_attempts_beside_the_trial_that_stands(tmp_path: Path) -> None:
    runner = FakeRunner(disturbances={1: "noise", 2: "more noise"})
    study = search(tmp_path, sampler="random", n_trials=3, schedule=Schedule(n_attempts=3))
    study.run(runner, quiet)
    assert len(runner.ran) == 5
    kept = {key: value for key, value in stored(tmp_path).user_attrs.items() if key.startswith("disturbed")}
    assert kept.keys() == {"disturbed 1 0", "disturbed 1 1"}
    first, second = (OUTCOME.validate_python(value) for value in kept.values())
    assert isinstance(first, Measured)
    assert isinstance(second, Measured)
    assert (first.disturbances, second.disturbances) == (("noise",), ("more noise",))
    outcome = study.finished()[1].outcome
    assert isinstance(outcome, Measured)
    assert outcome.warnings == ("measured again, since noise", "measured again, since more noise")


def test_an_interrupt_between_two_attempts_keeps_the_first_and_runs_the_trial_again(tmp_path: Path) -> None:
    runner = FakeRunner(disturbances={0: "noise"})

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == 2:
            raise KeyboardInterrupt

    runner.before = before
    first = [space().smallest()]
    with pytest.raises(Interrupted):
        search(tmp_path, initial_design=first, n_trials=1, schedule=Schedule(n_attempts=2)).run(runner, quiet)
    assert "disturbed 0 0" in stored(tmp_path).user_attrs
    again = FakeRunner()
    search(tmp_path, initial_design=first, n_trials=1, schedule=Schedule(n_attempts=2)).run(again, quiet)
    assert again.ran == runner.ran[:1]
