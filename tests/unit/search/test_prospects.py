import numpy as np
import pytest
from numpy.typing import NDArray

from layertune.search.improvement import Expected
from layertune.search.prospects import Prospects

MEASURED = [[-10.0, -10.0], [-20.0, -5.0]]
CANDIDATES = [[-15.0, -8.0], [-9.0, -9.0], [-5.0, -1.0]]  # between the two, dominated, and the worst corner


def prospects(
    candidates: list[list[float]] = CANDIDATES, std: float = 0.0, reaches: NDArray[np.float64] | None = None
) -> Prospects:
    costs = np.array(candidates + MEASURED)
    expected = [Expected(column, np.full(len(costs), std), np.arange(len(costs))) for column in costs.T]
    return Prospects(expected, np.ones(len(costs)) if reaches is None else reaches, len(candidates))


def test_what_is_surely_dominated_adds_nothing() -> None:
    gains = prospects().gains
    assert gains == pytest.approx([5 * 3, 0, 0], abs=1e-6)


def test_what_may_be_better_than_expected_adds_something() -> None:
    gains = prospects(std=2.0).gains
    assert gains[0] > gains[1] > gains[2] > 0


def test_what_may_miss_a_floor_adds_less() -> None:
    unlikely = np.array([0.25, 1, 1, 1, 1])
    assert prospects(reaches=unlikely).gains[0] == pytest.approx(prospects().gains[0] / 4)


def test_a_measured_setting_below_a_floor_is_not_on_the_front() -> None:
    below = prospects(reaches=np.array([1, 1, 1, 0.1, 1.0])).gains
    assert below[1] > prospects().gains[1]


def test_the_outlook_is_in_shares_of_what_there_is() -> None:
    volume = 5 * 9 + 10 * 4  # up to the worst corner (-5, -1): the two measured boxes, less what they share
    outlook = prospects().outlook(0, noise=0.02)
    assert outlook is not None
    assert outlook.gain == pytest.approx(15 / volume)
    assert outlook.missing == pytest.approx(15 / volume)
    assert outlook.noise == 0.01  # two points on the front


def test_a_front_without_volume_has_no_outlook() -> None:
    costs = np.array([[-9.0, -9.0], [-1.0, -1.0]])
    alone = [Expected(column, np.zeros(2), np.arange(2)) for column in costs.T]
    assert Prospects(alone, np.ones(2), 1).outlook(0, noise=0.02) is None


def test_an_objective_that_is_the_same_everywhere_tells_nothing_apart() -> None:
    costs = np.array([[*row[:1], 7.0] for row in CANDIDATES + MEASURED])
    same = [Expected(column, np.zeros(len(costs)), np.arange(len(costs))) for column in costs.T]
    assert Prospects(same, np.ones(len(costs)), 3).gains == pytest.approx([0, 0, 0], abs=1e-6)
