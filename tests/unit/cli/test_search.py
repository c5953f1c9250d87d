from dataclasses import replace

import pytest

from finished_study import result, screened
from layertune.study.searching import nothing_chosen


def test_trials_that_failed_are_not_blamed_on_the_budget() -> None:
    failed = result(trials=screened()[3:])
    assert str(nothing_chosen(failed)) == "no trial was measured; the last of 1: crashed: signal SIGSEGV"
    assert nothing_chosen(failed).exit_status == 1


def test_a_search_that_ended_before_its_first_trial_says_so() -> None:
    assert str(nothing_chosen(result(trials=()))) == "no trial was finished; allow more time with --timeout"


@pytest.mark.parametrize("n_first", [2, 3])
def test_trials_that_were_refused_or_over_the_budget_are(n_first: int) -> None:
    over = [replace(trial, violations={"vram": 1.0}) for trial in screened()[n_first - 2 : n_first + 1]]
    assert "raise the budget" in str(nothing_chosen(result(trials=over)))
    assert nothing_chosen(result(trials=over)).exit_status == 3
