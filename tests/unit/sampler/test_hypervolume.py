from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from layertune.sampler.hypervolume import Floats, hypervolume, undominated_boxes

# Few distinct values, so that ties and equal points are common.
points = st.integers(1, 4).flatmap(
    lambda m: st.integers(1, 6).flatmap(
        lambda n: arrays(float, (n, m), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    )
)


def by_inclusion_and_exclusion(costs: Floats, reference: Floats) -> float:
    volume = 0.0
    for size in range(1, len(costs) + 1):
        for chosen in combinations(costs, size):
            sides = np.maximum(reference - np.max(chosen, axis=0), 0)
            volume -= (-1) ** size * float(np.prod(sides))
    return volume


@given(points)
def test_it_is_the_volume_of_the_union(costs: Floats) -> None:
    reference = np.full(costs.shape[1], 0.9)
    assert hypervolume(costs, reference) == pytest.approx(by_inclusion_and_exclusion(costs, reference))


@given(points)
def test_dominated_and_undominated_volume_add_up_to_the_whole(costs: Floats) -> None:
    m = costs.shape[1]
    boxes = undominated_boxes(costs, np.full(m, 0.9), np.zeros(m))
    free = float(np.prod(boxes.upper - boxes.lower, axis=1).sum())
    assert free + hypervolume(np.maximum(costs, 0), np.full(m, 0.9)) == pytest.approx(0.9**m)


@given(points)
def test_no_point_dominates_the_inside_of_a_box(costs: Floats) -> None:
    m = costs.shape[1]
    boxes = undominated_boxes(costs, np.full(m, 0.9), np.zeros(m))
    for middle in (boxes.lower + boxes.upper) / 2:
        assert not (costs <= middle).all(axis=1).any()


def test_the_hypervolume_of_no_points_is_zero() -> None:
    assert hypervolume(np.zeros((0, 2)), np.ones(2)) == 0.0


def test_a_point_that_only_equals_the_reference_adds_nothing() -> None:
    assert hypervolume(np.array([[0.0, 1.0]]), np.ones(2)) == 0.0
