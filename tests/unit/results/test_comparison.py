import random
from math import exp

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from layertune.results.statistics import Comparison, compare
from layertune.trial.interval import median_interval

speeds = st.floats(1, 1000)
rounds = st.dictionaries(st.integers(0, 8), speeds, max_size=6)


@given(rounds, rounds)
def test_only_rounds_that_both_have_count(ours: dict[int, float], theirs: dict[int, float]) -> None:
    common = ours.keys() & theirs.keys()
    shared = compare({n: ours[n] for n in common}, {n: theirs[n] for n in common})
    compared = compare(ours, theirs)
    assert (compared is None) == (not common)
    assert compared is None or shared is None or compared.ratio == pytest.approx(shared.ratio)


@given(speeds, speeds, st.dictionaries(st.integers(0, 8), st.floats(0.1, 10), min_size=2))
def test_a_drift_of_the_machine_that_meets_both_cancels_out(
    ours: float, theirs: float, drift: dict[int, float]
) -> None:
    assume(ours == theirs or abs(ours / theirs - 1) > 1e-6)
    compared = compare(
        {n: ours * speed for n, speed in drift.items()}, {n: theirs * speed for n, speed in drift.items()}
    )
    assert compared is not None
    assert compared.low is not None
    assert compared.high is not None
    assert compared.ratio == pytest.approx(ours / theirs)
    assert compared.low == pytest.approx(compared.high)
    assert compared.clear == (ours != theirs)


def test_what_unpaired_intervals_would_hide_the_pairs_show() -> None:
    drift = [1.0, 0.7, 1.2, 0.9]
    ours, theirs = [20.4 * speed for speed in drift], [20.0 * speed for speed in drift]
    ours[0] += 0.1  # not all of the difference is drift
    mine, others = median_interval(ours), median_interval(theirs)
    assert mine is not None
    assert others is not None
    assert mine.low < others.high
    compared = compare(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert compared is not None
    assert compared.clear
    assert compared.ratio == pytest.approx(1.02, abs=0.001)


@given(rounds, rounds)
def test_swapping_the_two_turns_the_ratio_over(ours: dict[int, float], theirs: dict[int, float]) -> None:
    forth, back = compare(ours, theirs), compare(theirs, ours)
    assert (forth is None) == (back is None)
    if forth is None or back is None:
        return
    assert forth.ratio == pytest.approx(1 / back.ratio)
    assert (forth.low is None) == (back.high is None)
    if forth.low is None or forth.high is None or back.low is None or back.high is None:
        return
    assert forth.low == pytest.approx(1 / back.high)
    assert forth.high == pytest.approx(1 / back.low)
    on_the_edge = min(abs(forth.low - 1), abs(forth.high - 1)) < 1e-12
    assert on_the_edge or forth.clear == back.clear


@given(rounds, rounds)
def test_a_difference_is_clear_where_the_interval_leaves_out_one(
    ours: dict[int, float], theirs: dict[int, float]
) -> None:
    compared = compare(ours, theirs)
    if compared is None or compared.low is None or compared.high is None:
        return
    assert compared.low <= compared.ratio <= compared.high
    assert compared.clear == (not compared.low <= 1 <= compared.high)


def noisy(generator: random.Random, speed: float, n_rounds: int) -> dict[int, float]:
    return {number: speed * exp(generator.gauss(0, 0.02)) for number in range(n_rounds)}


@pytest.mark.parametrize("n_rounds", [3, 6])
def test_equals_are_claimed_to_differ_in_no_more_than_five_percent_of_all_studies(n_rounds: int) -> None:
    generator = random.Random(n_rounds)
    compared = [compare(noisy(generator, 20, n_rounds), noisy(generator, 20, n_rounds)) for _ in range(1000)]
    assert sum(each is not None and each.clear for each in compared) <= 0.05 * 1000


def test_a_difference_that_is_many_times_the_noise_is_found() -> None:
    generator = random.Random(1)
    compared = [compare(noisy(generator, 26, 4), noisy(generator, 20, 4)) for _ in range(200)]
    assert sum(each is not None and each.clear for each in compared) >= 190


@pytest.mark.parametrize(
    ("factors", "tied"),
    [
        ((1.05, 0.97, 1.0, 1.0), True),
        ((1.1, 0.98, 1.06, 1.0), False),  # noise may hide a difference, or be it
        ((0.9, 1.02, 0.95, 1.0), False),
        ((1.011, 1.01, 1.009, 1.01), False),  # small, and clear
    ],
)
def test_a_tie_is_small_and_not_clear(factors: tuple[float, ...], tied: bool) -> None:
    compared = compare({n: 20 * factor for n, factor in enumerate(factors)}, dict.fromkeys(range(4), 20.0))
    assert compared is not None
    assert compared.tied is tied


@pytest.mark.parametrize("n_rounds", [3, 6])
def test_what_differs_by_the_margin_is_shown_to_differ_by_less_in_few_studies(n_rounds: int) -> None:
    generator = random.Random(n_rounds)
    slower = [compare(noisy(generator, 19, n_rounds), noisy(generator, 20, n_rounds)) for _ in range(1000)]
    faster = [compare(noisy(generator, 21, n_rounds), noisy(generator, 20, n_rounds)) for _ in range(1000)]
    assert sum(each is not None and each.no_less(0.05) for each in slower) <= 0.05 * 1000
    assert sum(each is not None and each.no_more(0.05) for each in faster) <= 0.05 * 1000


def test_what_differs_in_nothing_is_shown_to_differ_by_less_than_many_times_the_noise() -> None:
    generator = random.Random(1)
    compared = [compare(noisy(generator, 20, 4), noisy(generator, 20, 4)) for _ in range(200)]
    assert sum(each is not None and each.no_less(0.3) and each.no_more(0.3) for each in compared) >= 190


def test_figures_measured_once_have_a_ratio_and_no_interval() -> None:
    assert compare({3: 30.0}, {3: 20.0, 4: 1.0}) == Comparison(pytest.approx(1.5), None, None)
    assert compare({}, {1: 2.0}) is None
    assert not Comparison(1.5, None, None).no_less(0.9)
    assert not Comparison(0.5, None, None).no_more(0.9)
    assert compare({0: 2.0}, {1: 2.0}) is None
