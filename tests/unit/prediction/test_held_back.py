import random
from dataclasses import replace
from statistics import NormalDist

import pytest

from layertune.errors import UsageError
from layertune.prediction import Calibration, MeasuredStudy
from layertune.prediction.held_back import (
    LEAST_SESSION,
    QUANTITIES,
    HeldBack,
    bar_factor,
    beyond,
    level_of,
    quantile,
    reaches,
    session_spread,
)
from layertune.settings import EngineSettings, Placement, SplitSettings
from linear_machine import Machine, feasible, study

SPLITS = [(0, 0), (1, 1), (3, 5), (5, 9), (8, 12), (10, 16), (13, 21)]


def test_an_interval_covers_a_new_exchangeable_score_as_often_as_its_level() -> None:
    generator = random.Random(1)
    n_inside = 0
    for _ in range(2000):
        scores = [abs(generator.gauss(0, 3)) for _ in range(30)]
        n_inside += abs(generator.gauss(0, 3)) <= bar_factor(scores)
    assert 0.88 < n_inside / 2000 < 0.94


def test_an_interval_is_never_narrower_than_the_model_s_own() -> None:
    assert bar_factor([0.1] * 50) == pytest.approx(NormalDist().inv_cdf(0.95), rel=1e-3)


def test_an_interval_always_has_finite_ends() -> None:
    assert reaches(2.0, 1e6) == pytest.approx((0.002, 2000.0))


def test_with_too_few_scores_the_largest_counts_and_the_level_is_lower() -> None:
    assert quantile([1.0, 7.0, 3.0]) == 7.0
    assert quantile(list(range(1, 20))) == 18
    assert [level_of(n) for n in (3, 8, 9, 30)] == [0.75, 8 / 9, 0.9, 0.9]


def test_a_split_has_one_score_its_worst_engine_s() -> None:
    whole = study(Machine(), SPLITS, share=1.0)
    settings, _samples = whole.trials[3]
    slower = SplitSettings.of({name: alike(whole, name, engine) for name, engine in settings.items()})
    slow = {name: Machine().samples(name, engine, 1.5) for name, engine in slower.items()}
    calibration = Calibration(replace(whole, trials=[*whole.trials, (slower, slow)]))
    error = calibration.error(feasible(1.0).capacity_bytes, {})
    assert error.n_splits == 2 * len(SPLITS)
    assert len(error.held_back) == 2 * len(SPLITS) + 2
    (chat,) = (each for each in calibration.held_back if (each.model, each.split) == ("chat", Placement(5)))
    scores = [each.score for each in chat.of("tokens_per_s")]
    assert len(scores) == 2
    assert chat.score("tokens_per_s") == max(scores) > min(scores)


def alike(whole: MeasuredStudy, name: str, engine: EngineSettings) -> EngineSettings:
    """Return another engine of the same split."""
    rows = whole.models[name].rows
    return next(each for each in rows if each != engine and each.n_gpu_layers == engine.n_gpu_layers)


def test_few_splits_make_intervals_for_less_than_90_percent() -> None:
    whole = study(Machine(), SPLITS[:3], share=1.0)
    error = Calibration(whole).error(feasible(1.0).capacity_bytes, {})
    assert (error.n_splits, error.level) == (6, pytest.approx(6 / 7))


def test_a_line_is_predicted_where_it_was_not_measured() -> None:
    calibration = Calibration(study(Machine(), SPLITS, share=1.0))
    inner = [each for each in held_back(calibration) if 0 < each.settings.n_gpu_layers < 12]
    assert {each.quantity for each in inner} == set(QUANTITIES)
    assert max(abs(each.expected / each.measured - 1) for each in inner) < 0.05


def held_back(calibration: Calibration) -> list[HeldBack]:
    return [each for split in calibration.held_back for each in split.held_back]


def test_the_distance_of_an_engine_is_from_the_range_of_the_measured_ones() -> None:
    model = study(Machine(), SPLITS).models["chat"]
    known = [row for row, engine in enumerate(model.engines) if engine.n_gpu_layers in (3, 6)]
    far = {engine.n_gpu_layers: float(each) for engine, each in zip(model.engines, beyond(model, known), strict=True)}
    assert [far[layers] for layers in (3, 4, 5, 6)] == [0.0] * 4
    assert far[2] < far[1] < far[0]
    assert far[7] == pytest.approx(1 / 13, rel=0.2)
    assert far[13] == pytest.approx(7 / 13, rel=0.2)


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
    chat = [each for each in held_back(calibration) if each.quantity == "tokens_per_s"]
    (last,) = (each for each in chat if each.settings.n_gpu_layers == 13)
    assert last.expected > 1.3 * last.measured  # each copy would reveal the other


def test_too_few_splits_are_refused() -> None:
    with pytest.raises(UsageError, match="4 can be held back, and 5 are needed"):
        Calibration(study(Machine(), [(0, 0), (13, 21)], share=1.0))


def test_a_study_without_trials_is_refused() -> None:
    with pytest.raises(UsageError, match="no measurement of chat"):
        Calibration(study(Machine(), []))


def test_the_session_spread_is_at_least_the_measured_one_and_more_on_a_machine_that_varies_more() -> None:
    for relative in ([], [1.001, 0.999], [0.0]):
        assert session_spread(relative) == LEAST_SESSION
    assert session_spread([1.2, 1 / 1.2]) == pytest.approx(0.182, abs=0.001)
