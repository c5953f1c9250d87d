from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.trial.effort import Effort
from layertune.trial.interval import median_interval

EFFORT = Effort(min_repeats=3, max_repeats=6, target_spread=0.02)
STEADY, WILD = [20.0, 20.01, 19.99], [10.0, 20.0, 30.0]

speeds = st.lists(st.floats(1, 1000), max_size=9)
efforts = st.builds(
    lambda least, more, target: Effort(least, least + more, target),
    st.integers(1, 5),
    st.integers(0, 5),
    st.floats(0.001, 0.5),
)


@given(efforts, speeds)
def test_a_series_is_complete_if_its_interval_is_narrow_within_the_bounds(effort: Effort, samples: list[float]) -> None:
    interval = median_interval(samples)
    narrow = interval is not None and interval.spread <= effort.target_spread
    n = len(samples)
    assert effort.enough([samples]) == (n >= effort.max_repeats or (n >= effort.min_repeats and narrow))


@given(efforts, st.lists(speeds, max_size=4))
def test_several_series_are_complete_if_each_of_them_is(effort: Effort, series: list[list[float]]) -> None:
    assert effort.enough(series) == all(effort.enough([samples]) for samples in series)


@given(efforts, speeds)
def test_after_the_time_limit_two_repetitions_are_enough(effort: Effort, samples: list[float]) -> None:
    limited = replace(effort, max_s=5.0)
    assert limited.enough([samples], 5.0) == (len(samples) >= min(2, effort.min_repeats))
    assert limited.enough([samples], 4.9) == effort.enough([samples])


@given(efforts, speeds, st.floats(1, 100))
def test_a_wider_target_never_needs_more_repetitions(effort: Effort, samples: list[float], factor: float) -> None:
    looser = replace(effort, target_spread=effort.target_spread * factor)
    assert looser.enough([samples]) or not effort.enough([samples])


@pytest.mark.parametrize(
    ("samples", "enough"),
    [
        ([], False),
        (STEADY[:2], False),
        (STEADY, True),
        (WILD, False),
        ([*WILD, *WILD], True),
        ([*WILD, *WILD, 15.0], True),
    ],
)
def test_repetitions_end_at_the_target_spread_or_at_the_maximum(samples: list[float], enough: bool) -> None:
    assert EFFORT.enough([samples]) is enough
    assert EFFORT.enough([STEADY, samples]) is enough


def test_a_single_repetition_never_reaches_the_target_spread() -> None:
    assert not replace(EFFORT, min_repeats=1).enough([[20.0]])


@given(efforts, st.floats(1, 1000))
def test_the_smallest_effort_ends_after_one_repetition(effort: Effort, speed: float) -> None:
    assert not effort.once().enough([[]])
    assert effort.once().enough([[speed]])
    repeated = replace(effort, n_beside_prefill=2)
    assert repeated.once() == replace(effort, min_repeats=1, max_repeats=1, n_beside_prefill=0)
