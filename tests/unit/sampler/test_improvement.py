from statistics import NormalDist

import numpy as np
import pytest

from layertune.sampler.hypervolume import Boxes, hypervolume, undominated_boxes
from layertune.sampler.improvement import ObjectivePosterior, expected_improvement

FRONT = np.array([[0.2, 0.8, 0.4], [0.6, 0.3, 0.7], [0.5, 0.5, 0.1]])
REFERENCE, IDEAL = np.ones(3), np.full(3, -1.0)
MEANS = np.array([[0.3, 0.4, 0.3], [0.7, 0.9, 0.9], [0.1, 0.1, 0.6]])
N_QUANTILES = 24  # of each uncertain objective, all equally likely


def improvement(stds: list[float]) -> list[float]:
    objectives = [
        ObjectivePosterior(MEANS[:, index], np.full(len(MEANS), std), np.arange(len(MEANS)))
        for index, std in enumerate(stds)
    ]
    return expected_improvement(objectives, undominated_boxes(FRONT, REFERENCE, IDEAL)).tolist()


def gain(point: np.ndarray) -> float:
    return hypervolume(np.vstack([FRONT, np.maximum(point, IDEAL)]), REFERENCE) - hypervolume(FRONT, REFERENCE)


def test_a_certain_candidate_s_improvement_is_its_hypervolume() -> None:
    assert improvement([0.0, 0.0, 0.0]) == pytest.approx([gain(mean) for mean in MEANS], abs=1e-9)


def test_an_uncertain_candidate_s_improvement_is_the_mean_over_its_posterior() -> None:
    stds = [0.1, 0.2, 0.0]
    quantiles = [NormalDist().inv_cdf((place + 0.5) / N_QUANTILES) for place in range(N_QUANTILES)]
    may_be = [np.array([first, second, 0.0]) * stds for first in quantiles for second in quantiles]
    means = [np.mean([gain(mean + each) for each in may_be]) for mean in MEANS]
    assert improvement(stds) == pytest.approx(means, abs=0.002)


def test_candidates_with_the_same_engines_have_the_same_improvement() -> None:
    both = [ObjectivePosterior(np.array([0.3, 0.1]), np.array([0.05, 0.0]), np.array([0, 0, 1])) for _ in range(2)]
    gains = expected_improvement(both, undominated_boxes(np.zeros((0, 2)), np.ones(2), np.full(2, -1.0)))
    assert gains[0] == gains[1] == pytest.approx(0.7**2, abs=1e-6)
    assert gains[2] == pytest.approx(0.9**2)


def test_the_worst_mean_has_no_improvement_if_it_counts_as_known() -> None:
    there = ObjectivePosterior(
        np.array([3.0, 2.0, 9.0]), np.array([0.5, 0.5, 0.5]), np.array([0, 0, 1])
    )  # no candidate has 9
    known = there.with_worst_known()
    assert known.std.tolist() == [0.0, 0.5, 0.0]
    whole = Boxes(np.array([[0.0]]), np.array([[3.0]]))
    assert expected_improvement([there], whole)[0] > 0
    assert expected_improvement([known], whole) == pytest.approx([0.0, 0.0, 1.0], abs=0.01)
