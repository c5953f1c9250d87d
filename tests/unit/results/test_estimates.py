"""Differences between trials' speeds: their mean, their scale, and the interval that follows."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import t as student

from layertune.results.estimates import Difference, Estimates

KNOWN = Estimates(
    numbers=[4, 7],
    mean={"chat": np.log([20.0, 22.0]), "code": np.log([9.0, 8.0])},
    covariance={"chat": np.array([[0.0004, 0.0003], [0.0003, 0.0005]]), "code": np.diag([0.0001, 0.0002])},
    n_degrees=8,
)


def test_a_trial_s_speeds_are_found_by_its_number() -> None:
    assert KNOWN.speeds(7) == pytest.approx({"chat": 22.0, "code": 8.0})


def test_what_two_trials_have_in_common_does_not_count_in_their_difference() -> None:
    found = KNOWN.difference(7, 4, {"chat": 1.0})
    assert (found.mean, found.scale) == (pytest.approx(log(1.1)), pytest.approx(sqrt(0.0003)))
    assert found.n_degrees == 8


def test_a_difference_of_several_models_is_that_of_the_weighted_geometric_means() -> None:
    found = KNOWN.difference(7, 4, {"chat": 3.0, "code": 1.0})
    assert found.mean == pytest.approx(0.75 * log(22 / 20) + 0.25 * log(8 / 9))
    assert found.scale == pytest.approx(sqrt(0.75**2 * 0.0003 + 0.25**2 * 0.0003))


def test_a_difference_the_other_way_round_is_the_same_with_the_other_sign() -> None:
    one, other = KNOWN.difference(4, 7, {"chat": 1.0}), KNOWN.difference(7, 4, {"chat": 1.0})
    assert (one.mean, one.scale) == (pytest.approx(-other.mean), pytest.approx(other.scale))


def test_a_trial_does_not_differ_from_itself() -> None:
    assert KNOWN.difference(4, 4, {"chat": 1.0}) == Difference(0.0, 0.0, 8)


@pytest.mark.parametrize("level", [0.9, 0.975, 0.999])
def test_either_end_of_the_interval_errs_as_often_as_the_level_says(level: float) -> None:
    found = Difference(0.03, 0.01, 8).comparison(level)
    half = student.ppf(level, 8) * 0.01
    assert found.ratio == pytest.approx(exp(0.03))
    assert (found.low, found.high) == (pytest.approx(exp(0.03 - half)), pytest.approx(exp(0.03 + half)))
