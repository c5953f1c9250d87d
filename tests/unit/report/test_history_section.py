"""The hypervolume after each trial."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finalists import CHAT, CODE, VRAM, finalist, rounds, trial
from finished_study import result
from layertune.report.history_section import growth

SPEED = st.integers(1, 50)


def test_two_objectives_are_the_area_that_the_trials_dominate() -> None:
    trials = [trial(at, {"chat": [x], "code": [y]}) for at, (x, y) in enumerate([(1.0, 1.0), (2.0, 3.0), (3.0, 2.0)])]
    grown = growth(result(trials=trials, objectives=[CHAT, CODE]))
    assert grown is not None
    assert grown.objectives == ("chat.tokens_per_s", "code.tokens_per_s")
    assert grown.shares == pytest.approx((0.0, 0.5, 0.75))  # of the box from (1, 1) to (3, 3)


@given(speeds=st.lists(st.tuples(SPEED, SPEED, SPEED), min_size=2, max_size=12))
def test_it_never_shrinks_and_is_a_share(speeds: list[tuple[int, int, int]]) -> None:
    trials = [trial(at, {"chat": [x], "code": [y]}, z) for at, (x, y, z) in enumerate(speeds)]
    grown = growth(result(trials=trials, objectives=[CHAT, CODE, VRAM]))
    if len(set(speeds)) == 1:
        assert grown is None
        return
    assert grown is not None
    assert all(after >= before - 1e-9 for before, after in pairwise(grown.shares))
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in grown.shares)


def test_a_trial_over_a_limit_adds_nothing() -> None:
    trials = [trial(0, {"chat": [1.0], "code": [1.0]}), trial(1, {"chat": [9.0], "code": [9.0]}, excess=1.0)]
    grown = growth(result(trials=trials, objectives=[CHAT, CODE]))
    assert grown is not None
    assert grown.shares == (0.0, 0.0)


def test_a_finalist_counts_with_what_the_search_measured_first() -> None:
    # The support's finalists were three times as fast at first: 60 and 30 are the best of the box.
    trials = [
        trial(0, {"chat": [10.0], "code": [10.0]}),
        finalist(1, chat=rounds(20.0, 20.0), code=rounds(10.0, 10.0)),
        trial(2, {"chat": [35.0], "code": [20.0]}),
    ]
    grown = growth(result(trials=trials, objectives=[CHAT, CODE]))
    assert grown is not None
    assert grown.shares == pytest.approx((0.0, 1.0, 1.0))


def test_without_a_difference_or_a_figure_there_is_no_hypervolume() -> None:
    assert growth(result(trials=[trial(0, {"chat": [1.0], "code": [1.0]})])) is None
    assert growth(result(trials=[])) is None
