from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layertune.results.pareto import pareto_front
from layertune.sampler import candidates
from layertune.sampler.speeds import Posterior

GENERATOR = np.random.default_rng(0)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=3), st.integers(0, 20))
def test_combinations_are_those_that_fit(needed: list[list[int]], room: int) -> None:
    device_bytes = [np.array(each, dtype=np.int64)[:, None] for each in needed]
    found = candidates.combinations(device_bytes, [np.arange(len(each)) for each in needed], [room], GENERATOR)
    fitting = [
        rows
        for rows in product(*(range(len(each)) for each in needed))
        if sum(each[row] for each, row in zip(needed, rows, strict=True)) <= room
    ]
    assert sorted(map(tuple, found.tolist())) == fitting


engine_bytes = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(
    st.lists(st.lists(engine_bytes, min_size=1, max_size=5), min_size=1, max_size=3),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
def test_combinations_have_to_fit_every_device(needed: list[list[tuple[int, int]]], rooms: tuple[int, int]) -> None:
    device_bytes = [np.array(each, dtype=np.int64) for each in needed]
    found = candidates.combinations(device_bytes, [np.arange(len(each)) for each in needed], rooms, GENERATOR)
    fitting = [
        rows
        for rows in product(*(range(len(each)) for each in needed))
        if all(
            sum(each[row][device] for each, row in zip(needed, rows, strict=True)) <= rooms[device]
            for device in range(2)
        )
    ]
    assert sorted(map(tuple, found.tolist())) == fitting


def test_an_engine_that_needs_less_of_another_device_is_not_beaten() -> None:
    figure = Posterior(mean=np.array([1.0, 2.0, 2.0]), std=np.zeros(3))
    assert candidates.possibly_on_front(np.array([[2, 0], [0, 2], [2, 2]]), [figure]).tolist() == [0, 1]


def test_of_very_many_combinations_a_part_is_returned() -> None:
    needed = [np.ones((3000, 1), dtype=np.int64)] * 2
    found = candidates.combinations(needed, [np.arange(3000)] * 2, [2], GENERATOR)
    assert len(found) == 20_000
    assert len(np.unique(found, axis=0)) == 20_000


def test_an_engine_that_another_clearly_beats_is_not_a_candidate() -> None:
    figure = Posterior(mean=np.array([1.0, 2.0, 1.1, 2.0]), std=np.array([0.1, 0.1, 0.1, 5.0]))
    # The second is slower and larger, the third no slower by what is known, the last may be anything.
    assert candidates.possibly_on_front(np.array([[1], [2], [3], [3]]), [figure]).tolist() == [0, 2, 3]


def test_of_engines_with_the_same_context_the_slower_is_not_a_candidate() -> None:
    speed = Posterior(mean=np.array([-2.0, -1.0, -1.0]), std=np.zeros(3))
    context = Posterior(mean=np.array([-4096.0, -4096.0, -8192.0]), std=np.zeros(3))
    assert candidates.possibly_on_front(np.array([[1], [1], [2]]), [speed, context]).tolist() == [0, 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_the_unbeaten_rows_are_the_front_without_duplicates(costs: list[tuple[int, int, int]]) -> None:
    values = np.array(costs, dtype=float)
    kept = values[candidates.unbeaten(values)]
    front = np.unique(values[pareto_front(values, ["minimize"] * 3)], axis=0)
    assert np.array_equal(np.unique(kept, axis=0), front)
    assert len(kept) == len(front)
