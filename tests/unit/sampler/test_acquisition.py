from collections.abc import Sequence
from math import hypot

import numpy as np
import pytest
from numpy.typing import NDArray

from layertune.sampler.acquisition import Acquisition
from layertune.sampler.improvement import ObjectivePosterior

MEASURED = [[-10.0, -10.0], [-20.0, -5.0]]
CANDIDATES = [[-15.0, -8.0], [-9.0, -9.0], [-5.0, -1.0]]  # between the two, dominated, and the worst corner


def acquisition(std: float = 0.0, chance: Sequence[float] = (1, 1, 1, 1, 1), noise: float = 0.0) -> Acquisition:
    costs = np.array(CANDIDATES + MEASURED)
    places = np.arange(len(costs))
    expected = [ObjectivePosterior(column, np.full(len(costs), std), places, noise) for column in costs.T]
    chances = np.array(chance, dtype=float)
    return Acquisition(expected, chances, chances > 0.5, len(CANDIDATES))


def of_costs(costs: NDArray[np.float64], n_candidates: int) -> Acquisition:
    expected = [ObjectivePosterior(column, np.zeros(len(costs)), np.arange(len(costs))) for column in costs.T]
    return Acquisition(expected, np.ones(len(costs)), np.ones(len(costs), dtype=bool), n_candidates)


def test_a_candidate_that_is_certainly_dominated_has_no_gain() -> None:
    gains = acquisition().gains
    assert gains == pytest.approx([5 * 3, 0, 0], abs=1e-6)


def test_an_uncertain_candidate_has_a_gain() -> None:
    gains = acquisition(std=2.0).gains
    assert gains[0] > gains[1] > gains[2] > 0


def test_the_gain_is_multiplied_by_the_probability_of_the_floors() -> None:
    assert acquisition(chance=(0.25, 1, 1, 1, 1)).gains[0] == pytest.approx(acquisition().gains[0] / 4)


def test_a_measured_setting_below_a_floor_is_not_on_the_front() -> None:
    below = acquisition(chance=(1, 1, 1, 0.1, 1)).gains
    assert below[1] > acquisition().gains[1]


def test_the_stopping_value_is_relative_to_the_front_s_hypervolume() -> None:
    volume = 5 * 9 + 10 * 4  # up to the worst corner (-5, -1): the two measured boxes, less what they share
    value = acquisition().stopping_value(0)
    assert value is not None
    assert value.gain == pytest.approx(15 / volume)
    assert value.missing == pytest.approx(15 / volume)


@pytest.mark.parametrize(("third", "worth"), [(-3.0, False), (-1.1, True)])
def test_a_setting_as_slow_as_the_worst_has_no_gain_unless_another_may_be_slower(third: float, worth: bool) -> None:
    speed = ObjectivePosterior(np.array([-1.0, -5.0, third]), np.full(3, 0.5), np.arange(3))
    memory = ObjectivePosterior(np.array([1.0, 5.0, 3.0]), np.zeros(3), np.arange(3))
    slowest = {
        known: Acquisition([speed, memory], np.ones(3), np.ones(3, dtype=bool), 1, worst_is_known=known).gains[0]
        for known in (False, True)
    }
    assert slowest[False] > 0.1
    assert (slowest[True] > 0.1) == worth


def test_noise_is_the_growth_of_the_hypervolume_by_one_measurement_s_error() -> None:
    value = acquisition(noise=0.02).stopping_value(0)
    assert value is not None
    # (-10, -10) is 5 wide in the one direction and 9 high in the other, of which the other point has 4; and so on.
    first = hypot(0.02 * 10 * (9 - 4), 0.02 * 10 * 5)
    second = hypot(0.02 * 20 * 4, 0.02 * 5 * (15 - 5))
    assert value.noise == pytest.approx((first + second) / 2 / 85, rel=1e-6)


@pytest.mark.parametrize("flat", [1.0, 5.0, 50.0])
def test_noise_counts_more_where_speeds_differ_less(flat: float) -> None:
    """The same front and candidates, on speeds that are all faster by `flat`: noise is a share of the speed."""
    speeds = np.array(CANDIDATES + MEASURED) - flat
    places = np.arange(len(speeds))
    ones = np.ones(len(speeds))
    found = Acquisition(
        [ObjectivePosterior(each, 0 * ones, places, 0.02) for each in speeds.T], ones, ones > 0, len(CANDIDATES)
    )
    value, before = found.stopping_value(0), acquisition(noise=0.02).stopping_value(0)
    assert value is not None
    assert before is not None
    assert value.gain == pytest.approx(before.gain)
    assert value.noise > before.noise


@pytest.mark.parametrize(("noise", "calm"), [(0.01, False), (0.5, True)])
def test_it_is_converged_when_the_best_candidate_adds_less_than_the_noise(noise: float, calm: bool) -> None:
    assert acquisition(noise=noise).is_converged() is calm  # it adds 15 of 85


def test_a_front_without_volume_is_converged_when_no_candidate_has_a_gain() -> None:
    apart = np.array([[-5.0, -1.0], [-1.0, -5.0], [-1.0, -1.0]])
    assert not of_costs(apart, 2).is_converged()
    assert of_costs(np.ones((3, 2)), 2).is_converged()


def test_all_settings_together_never_add_less_than_one_of_them() -> None:
    value = of_one_unknown().stopping_value(0)
    assert value is not None
    assert value.missing == value.gain > 0


def of_one_unknown() -> Acquisition:
    """Return what is dominated by its means and may be far better."""
    costs = np.array([[-9.0, -9.0], [-5.0, -1.0], *MEASURED])
    std = np.array([4.0, 0, 0, 0])
    expected = [ObjectivePosterior(column, std, np.arange(len(costs))) for column in costs.T]
    return Acquisition(expected, np.ones(len(costs)), np.ones(len(costs), dtype=bool), 2)


def test_a_front_without_volume_has_no_stopping_value() -> None:
    assert of_costs(np.array([[-9.0, -9.0], [-1.0, -1.0]]), 1).stopping_value(0) is None


def test_an_objective_with_one_value_has_no_influence() -> None:
    costs = np.array([[-25.0, 7.0], [-5.0, 7.0], [-10.0, 7.0], [-20.0, 7.0]])
    assert of_costs(costs, 2).gains == pytest.approx([5, 0], abs=1e-6)


def test_without_a_varying_objective_no_candidate_has_a_gain() -> None:
    same = of_costs(np.full((3, 2), 7.0), 2)
    assert same.gains.tolist() == [0, 0]
    assert same.stopping_value(0) is None
