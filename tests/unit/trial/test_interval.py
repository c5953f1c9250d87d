import random
from collections.abc import Callable
from math import exp
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.trial.interval import Interval, median_interval, pseudomedian_interval, student_t

# Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, table 26.10, to three digits.
T_TABLE = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
    12: 2.179,
    15: 2.131,
    20: 2.086,
    30: 2.042,
    60: 2.000,
    120: 1.980,
}

N_STUDIES = 2000  # a share of 95 % is known to within 1 % then

speeds = st.lists(st.floats(1, 1000), min_size=2, max_size=12)


@pytest.mark.parametrize(("n_degrees", "quantile"), T_TABLE.items())
def test_students_quantiles_are_those_of_the_table(n_degrees: int, quantile: float) -> None:
    assert student_t(n_degrees) == pytest.approx(quantile, abs=0.001)


def test_more_degrees_of_freedom_need_a_smaller_quantile_down_to_the_normal_one() -> None:
    quantiles = [student_t(n_degrees) for n_degrees in range(1, 200)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert student_t(10**4) == pytest.approx(1.960, abs=0.001)


@pytest.mark.parametrize("samples", [[], [5.0]])
def test_a_single_sample_has_no_interval(samples: list[float]) -> None:
    assert median_interval(samples) is None
    assert pseudomedian_interval(samples) is None


@given(speeds)
def test_an_interval_is_centred_on_the_median(samples: list[float]) -> None:
    interval = median_interval(samples)
    assert interval is not None
    assert interval.median == median(samples)
    assert interval.low <= interval.median <= interval.high
    assert interval.high - interval.median == pytest.approx(interval.median - interval.low, abs=1e-9)


@given(speeds, st.randoms(use_true_random=False))
def test_an_interval_does_not_depend_on_the_order_of_its_samples(samples: list[float], order: random.Random) -> None:
    shuffled = order.sample(samples, len(samples))
    ours, theirs = median_interval(samples), median_interval(shuffled)
    assert ours is not None
    assert theirs is not None
    assert (theirs.low, theirs.high) == (pytest.approx(ours.low), pytest.approx(ours.high))


@given(speeds, st.floats(1, 10))
def test_a_larger_spread_gives_a_wider_interval(samples: list[float], stretch: float) -> None:
    middle = median(samples)
    ours = median_interval(samples)
    wider = median_interval([middle + stretch * (sample - middle) for sample in samples])
    assert ours is not None
    assert wider is not None
    assert wider.high - wider.low == pytest.approx(stretch * (ours.high - ours.low), rel=1e-6, abs=1e-6)


@given(st.floats(1, 1000), st.integers(2, 10))
def test_equal_samples_have_an_interval_of_zero_width(speed: float, n: int) -> None:
    interval = median_interval([speed] * n)
    assert interval == Interval(speed, speed, speed)
    assert interval.spread == 0


@given(speeds, st.floats(0.01, 100))
def test_the_spread_does_not_depend_on_the_unit(samples: list[float], unit: float) -> None:
    ours, theirs = median_interval(samples), median_interval([sample * unit for sample in samples])
    assert ours is not None
    assert theirs is not None
    assert theirs.spread == pytest.approx(ours.spread, rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_negated_samples_negate_the_pseudomedians_interval(samples: list[float]) -> None:
    """As log ratios do where the two settings change sides."""
    ours, theirs = pseudomedian_interval(samples), pseudomedian_interval([-each for each in samples])
    assert ours is not None
    assert theirs is not None
    assert (-theirs.high, -theirs.median, -theirs.low) == pytest.approx((ours.low, ours.median, ours.high), abs=1e-12)


def test_the_pseudomedian_is_the_median_of_all_pairwise_means() -> None:
    interval = pseudomedian_interval([1.0, 2.0, 6.0])  # 1, 1.5, 2, 3.5, 4, 6
    assert interval is not None
    assert interval.median == 2.75


@given(st.floats(10, 1e6))
def test_one_outlier_moves_the_pseudomedian_by_a_bounded_amount(outlier: float) -> None:
    ours, theirs = (pseudomedian_interval([*range(9), far]) for far in (10.0, outlier))
    assert ours is not None
    assert theirs is not None
    assert ours.median == theirs.median


def normal(generator: random.Random) -> float:
    return generator.gauss(20, 1)


def skewed(generator: random.Random) -> float:
    return 20 * exp(generator.gauss(0, 0.05))


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("draw", [normal, skewed])
@pytest.mark.parametrize("interval_of", [median_interval, pseudomedian_interval])
def test_the_interval_covers_the_true_median_at_its_confidence_level(
    interval_of: Callable[[list[float]], Interval | None], draw: Callable[[random.Random], float], n: int
) -> None:
    generator = random.Random(f"{draw.__name__} {n}")
    intervals = [interval_of([draw(generator) for _ in range(n)]) for _ in range(N_STUDIES)]
    n_covering = sum(interval is not None and interval.low <= 20 <= interval.high for interval in intervals)
    assert n_covering >= 0.93 * N_STUDIES
