import random
from math import log, sqrt
from statistics import pstdev

import pytest

from layertune.testing.recorded_noise import RecordedNoise, factorisation_error
from small_table import table


def test_two_loads_of_an_engine_are_as_far_from_the_truth_as_they_tell() -> None:
    noise = RecordedNoise.of(table(loads=(1.0, 1.1), joint=1.0), "chat")
    # Four cells of each engine: 1, 1.1 and two joint ones of 1. Bessel's correction for four.
    values = [0.0, log(1.1), 0.0, 0.0]
    mean = sum(values) / 4
    expected = {round(sqrt(4 / 3) * (each - mean), 9) for each in values}
    assert {round(pp, 9) for pp, _ in noise.loads} == expected
    assert all(pp == pytest.approx(tg) for pp, tg in noise.loads)
    assert set(noise.repeats) == {(0.0, 0.0)}


def test_repetitions_scatter_within_a_load_only() -> None:
    noise = RecordedNoise.of(table(repeats=(0.9, 1.1)), "code")
    half = log(1.1 / 0.9) / 2
    assert {round(abs(pp), 9) for pp, _ in noise.repeats} == {round(sqrt(2) * half, 9)}
    assert {tg for _, tg in noise.loads} == {0.0}


def test_a_table_that_measures_nothing_twice_has_no_noise() -> None:
    small = table(repeats=(1.0,))
    factor_only = small.__class__(**small.__dict__ | {"cells": small.cells[:3]})
    noise = RecordedNoise.of(factor_only, "chat")
    speed = factor_only.true_speed("chat", small.cells[0].models["chat"].settings)
    assert noise.repeat(noise.load(speed, random.Random(0)), random.Random(0)) == speed


def test_the_noise_of_repetitions_is_not_counted_as_that_of_loads_too() -> None:
    """Cells of two repetitions differ by σ / √2 where only repetitions scatter; nothing is left to the loads."""
    generator = random.Random(5)
    small = table(loads=(1.0,) * 20)
    cells = []
    for cell in small.cells[:60]:
        scattered = table(repeats=[1 + generator.gauss(0, 0.05) for _ in range(2)])
        cells.append(next(each for each in scattered.cells if each.settings == cell.settings))
    noise = RecordedNoise.of(small.__class__(**small.__dict__ | {"cells": tuple(cells)}), "chat")
    assert pstdev(pp for pp, _ in noise.repeats) == pytest.approx(0.05, rel=0.2)
    assert pstdev(pp for pp, _ in noise.loads) < 0.02


def test_an_exactly_factorised_table_has_no_factorisation_error() -> None:
    found = factorisation_error(table(loads=(1.0, 1.0)), "chat")
    assert (found.n_joint, found.n_noise) == (6, 6)
    assert found.bias == pytest.approx(0)
    assert found.median_absolute == pytest.approx(0)
    assert found.spread == pytest.approx(0)
    assert found.noise_median_absolute == pytest.approx(0)
    assert found.noise_spread == pytest.approx(0)


def test_a_joint_cell_that_differs_is_told_beside_what_loads_differ_by() -> None:
    found = factorisation_error(table(loads=(0.99, 1.01), joint=0.9), "code")
    assert found.bias == pytest.approx(log(0.9), abs=1e-3)
    assert found.median_absolute == pytest.approx(-log(0.9), abs=1e-3)
    assert found.noise_median_absolute == pytest.approx(log(1.01 / 0.99))


def test_without_joint_cells_nothing_is_told() -> None:
    small = table()
    found = factorisation_error(small.__class__(**small.__dict__ | {"cells": small.cells[:3]}), "chat")
    assert (found.n_joint, found.bias, found.median_absolute, found.spread) == (0, None, None, None)
    assert (found.n_noise, found.noise_median_absolute, found.noise_spread) == (0, None, None)
