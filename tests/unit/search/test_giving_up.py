"""A trial that is clearly beaten ends early, and is a whole trial all the same."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from layertune.config import Objective
from layertune.results.trials import front, objective_value
from layertune.search.schedule import Schedule
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.testing.fake_runner import Noise
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from small_study import quiet, search, space, stored, task

# Never narrow enough with this noise, so a trial goes on to its last repetition unless it is given up.
MEASURING = Schedule(Effort(3, 12, 0.0001))
STEADY = Noise(repeat=0.001, seed=1)


def slower_after_the_first(n_run: int) -> float:
    return 1.0 if n_run == 0 else 0.85


def settings(n_layers: int, n_batch: int) -> SplitSettings:
    return space().settings(
        {
            "chat.n_gpu_layers": n_layers,
            "code.n_gpu_layers": n_layers,
            "chat.n_batch": n_batch,
            "code.n_batch": n_batch,
        }
    )


FAST, BEATEN, LARGER = settings(5, 512), settings(5, 256), settings(9, 512)


def outcomes(folder: Path, *first: SplitSettings, **changes: object) -> list[Measured]:
    """Run these settings one after the other, the first on a machine that is faster, and return what each came to."""
    values = {"sampler": "random", "n_trials": len(first), "initial_design": first, "schedule": MEASURING} | changes
    study = search(folder, **values)
    study.run(FakeRunner(noise=STEADY, machine_speed=slower_after_the_first), quiet)
    found = [trial.outcome for trial in study.finished()]
    assert all(isinstance(each, Measured) for each in found)
    return [each for each in found if isinstance(each, Measured)]


def n_repeats(outcome: Measured) -> int:
    return len(outcome.models["chat"].samples.tokens_per_s)


def test_a_clearly_beaten_trial_ends_after_its_least_repetitions_and_says_by_whom(tmp_path: Path) -> None:
    first, second = outcomes(tmp_path, FAST, BEATEN)
    assert (n_repeats(first), first.stopped) == (12, None)
    assert (n_repeats(second), second.stopped) == (3, "clearly beaten by trial 0")


@pytest.mark.parametrize("second", [LARGER, settings(3, 256)])
def test_a_trial_that_may_still_be_on_the_front_is_measured_to_its_end(second: SplitSettings, tmp_path: Path) -> None:
    """It takes less memory, or it is faster although it takes more."""
    assert [n_repeats(each) for each in outcomes(tmp_path, FAST, second)] == [12, 12]


def test_a_trial_within_the_noise_of_a_better_one_is_not_given_up(tmp_path: Path) -> None:
    study = search(tmp_path, sampler="random", n_trials=2, initial_design=[FAST, BEATEN], schedule=MEASURING)
    study.run(FakeRunner(noise=Noise(repeat=0.05, seed=1)), quiet)
    assert [n_repeats(each.outcome) for each in study.finished() if isinstance(each.outcome, Measured)] == [12, 12]


def test_a_trial_that_ended_early_is_told_complete_with_every_objective(tmp_path: Path) -> None:
    outcomes(tmp_path, FAST, BEATEN)
    told: list[optuna.trial.FrozenTrial] = stored(tmp_path).trials
    assert [each.state for each in told] == [TrialState.COMPLETE, TrialState.COMPLETE]
    (_, finished), objectives = search(tmp_path).finished(), task().objectives
    assert told[1].values == [objective_value(objective, finished) for objective in objectives]
    assert isinstance(finished.outcome, Measured)
    for report in finished.outcome.models.values():
        assert len(report.samples.tokens_per_s_together) == 1
        assert len(report.samples.pp_tokens_per_s) == len(report.samples.ttft_s) == 3


def test_a_trial_that_ended_early_is_not_on_the_front(tmp_path: Path) -> None:
    outcomes(tmp_path, FAST, BEATEN)
    assert [each.number for each in front(search(tmp_path).finished(), task().objectives)] == [0]


def test_a_trial_over_the_budget_beats_nobody(tmp_path: Path) -> None:
    tight = replace(task().limits, vram=(1,))
    assert [n_repeats(each) for each in outcomes(tmp_path, FAST, BEATEN, limits=tight)] == [12, 12]


def test_without_figures_of_an_objective_so_far_nothing_is_given_up(tmp_path: Path) -> None:
    """All models at once are clocked last, so nobody knows yet whether that one is beaten."""
    together = [
        *(Objective(f"{name}.tokens_per_s_together", "maximize") for name in ("chat", "code")),
        Objective("vram.peak_bytes", "minimize"),
    ]
    assert [n_repeats(each) for each in outcomes(tmp_path, FAST, BEATEN, objectives=together)] == [12, 12]


def test_a_reference_is_never_given_up(tmp_path: Path) -> None:
    reference = space().canonical(BEATEN)
    schedule = Schedule(MEASURING.effort, reference=reference, n_between=1)
    study = search(tmp_path, sampler="random", n_trials=2, initial_design=[FAST, LARGER], schedule=schedule)
    study.run(FakeRunner(noise=STEADY, machine_speed=slower_after_the_first), quiet)
    assert [n_repeats(each.outcome) for each in study.references()] == [12, 12]
