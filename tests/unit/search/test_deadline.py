"""The time limit. The clock is the test's own: no test here waits or looks at the real one."""

import time

import pytest

from layertune.search.deadline import Deadline


class Hands:
    """A clock that stands where it was put."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands(1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: hands.now_s)
    return hands


@pytest.mark.parametrize("with_finals", [True, False])
def test_without_a_timeout_a_study_is_never_over(with_finals: bool, hands: Hands) -> None:
    deadline = Deadline(None, with_finals=with_finals, with_validation=False)
    hands.now_s += 1e9
    assert not deadline.trials_are_over()
    assert not deadline.is_over()


@pytest.mark.parametrize(
    ("passed_s", "trials", "all_of_it"), [(0, False, False), (199, False, False), (200, True, False), (300, True, True)]
)
def test_a_third_of_the_time_is_kept_for_the_finals(
    passed_s: float, trials: bool, all_of_it: bool, hands: Hands
) -> None:
    deadline = Deadline(300.0, with_finals=True, with_validation=False)
    hands.now_s += passed_s
    assert (deadline.trials_are_over(), deadline.finals_are_over(), deadline.is_over()) == (
        trials,
        all_of_it,
        all_of_it,
    )


@pytest.mark.parametrize(
    ("passed_s", "finals", "all_of_it"), [(249, False, False), (250, True, False), (300, True, True)]
)
def test_half_of_that_third_is_kept_for_the_rounds_after_the_finals(
    passed_s: float, finals: bool, all_of_it: bool, hands: Hands
) -> None:
    deadline = Deadline(300.0, with_finals=True, with_validation=True)
    hands.now_s += passed_s
    assert (deadline.finals_are_over(), deadline.is_over()) == (finals, all_of_it)


@pytest.mark.parametrize(("passed_s", "over"), [(0, False), (299, False), (300, True)])
def test_without_finals_all_of_the_time_is_the_trials(passed_s: float, over: bool, hands: Hands) -> None:
    deadline = Deadline(300.0, with_finals=False, with_validation=False)
    hands.now_s += passed_s
    assert (deadline.trials_are_over(), deadline.is_over()) == (over, over)


def test_no_time_at_all_is_over_at_once() -> None:
    deadline = Deadline(0.0, with_finals=True, with_validation=False)
    assert deadline.trials_are_over()
    assert deadline.is_over()
