import random
from statistics import NormalDist

import pytest

from layertune.errors import UsageError
from layertune.prediction import LEVEL, Calibration
from layertune.prediction.held_back import QUANTITIES, HeldBack, bar_factor, coverage, quantile, reaches
from linear_machine import Machine, study
from small_shapes import engine

SPLITS = [(0, 0), (1, 1), (3, 5), (5, 9), (8, 12), (10, 16), (13, 21)]


def held_back(score: float, n_gpu_layers: int = 0) -> HeldBack:
    _low, high = reaches(10.0, 0.1, score)
    return HeldBack("chat", engine(n_gpu_layers), "tokens_per_s", expected=high, spread=0.1, measured=10.0)


def test_a_bar_holds_a_new_score_as_often_as_it_says() -> None:
    generator = random.Random(1)
    n_inside = 0
    for _ in range(2000):
        scores = [abs(generator.gauss(0, 3)) for _ in range(30)]
        n_inside += abs(generator.gauss(0, 3)) <= bar_factor(scores, LEVEL)
    assert LEVEL - 0.02 < n_inside / 2000 < LEVEL + 0.04


def test_a_bar_is_never_narrower_than_the_model_s_own_belief() -> None:
    assert bar_factor([0.1] * 50, 0.9) == pytest.approx(NormalDist().inv_cdf(0.95), rel=1e-3)


def test_of_too_few_scores_the_largest_counts() -> None:
    assert quantile([1.0, 7.0, 3.0], 0.9) == 7.0
    assert quantile(list(range(1, 20)), 0.9) == 18


def test_coverage_judges_every_figure_by_the_others() -> None:
    scores = [2.0] * 12
    scores[0] = 9.0
    found = [held_back(score, layers) for layers, score in enumerate(scores)]
    assert coverage(found, 0.9) == pytest.approx(11 / 12)


def test_coverage_does_not_judge_a_figure_by_others_of_its_split() -> None:
    alike = [held_back(9.0, 5), held_back(9.1, 5)]
    others = [held_back(2.0, layers) for layers in range(6, 18)]
    assert coverage([*alike, *others], 0.9) == pytest.approx(12 / 14)


def test_a_line_is_predicted_where_it_was_not_measured() -> None:
    calibration = Calibration(study(Machine(), SPLITS, share=1.0))
    inner = [each for each in calibration.held_back if 0 < each.settings.n_gpu_layers < 12]
    assert {each.quantity for each in inner} == set(QUANTITIES)
    assert max(abs(each.error) for each in inner) < 0.05


def test_noise_of_the_trials_makes_wider_intervals() -> None:
    def width(noise: float) -> float:
        factors = {number: 1 + (noise if number % 2 else -noise) for number in range(len(SPLITS))}
        calibration = Calibration(study(Machine(), SPLITS, share=1.0, noise=factors))
        some = next(iter(calibration.engines({})["chat"].values())).tokens_per_s
        return some.high / some.low

    assert width(0.1) > 1.2 * width(0.0)


def test_a_split_s_copies_are_held_back_with_it() -> None:
    n_splits = len(SPLITS)
    slow = {n_splits - 1: 1.5, 2 * n_splits - 1: 1.5}  # both trials of the last split
    calibration = Calibration(study(Machine(), [*SPLITS, *SPLITS], share=1.0, noise=slow))
    (last,) = (each for each in calibration.of_quantity("tokens_per_s") if each.settings.n_gpu_layers == 13)
    assert last.error > 0.3  # one of them would have told of the other


def test_too_few_splits_cannot_say_how_far_off_they_are() -> None:
    with pytest.raises(UsageError, match="4 engines can be held back and predicted from the others, and 5 are needed"):
        Calibration(study(Machine(), [(0, 0), (13, 21)], share=1.0))


def test_a_study_without_trials_is_refused() -> None:
    with pytest.raises(UsageError, match="measured nothing of chat"):
        Calibration(study(Machine(), []))
