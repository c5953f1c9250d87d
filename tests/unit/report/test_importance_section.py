"""How strongly each setting is correlated with a speed."""

import pytest

from finalists import in_rounds, outcome, trial
from finished_study import result
from layertune.report.importance_section import LEAST_TRIALS, associations, chance_share
from layertune.report.source import Source, measured

# The support's trials have as many layers of every model as their number.

RISING = [trial(at, {"chat": [10.0 + at], "code": [5.0]}) for at in range(LEAST_TRIALS)]


def sources(speeds: list[float]) -> list[Source]:
    trials = [trial(at, {"chat": [speed], "code": [5.0]}) for at, speed in enumerate(speeds)]
    return measured(result(trials=trials))


def test_a_speed_that_rises_with_the_layers_goes_with_them_wholly() -> None:
    found = associations(measured(result(trials=RISING)), "chat")
    assert {each.setting for each in found} == {"chat.n_gpu_layers", "code.n_gpu_layers"}
    assert [each.rho for each in found] == pytest.approx([1.0, 1.0])


def test_a_machine_that_is_slower_in_later_rounds_is_no_setting_s_doing() -> None:
    slowest_rounds = {0: outcome({"chat": [1.0], "code": [1.0]})}
    trials = [in_rounds(each, "finals", slowest_rounds) if each.number > 5 else each for each in RISING]
    found = associations(measured(result(trials=trials)), "chat")
    assert [each.rho for each in found] == pytest.approx([1.0, 1.0])


def test_a_falling_speed_has_a_negative_correlation_and_the_same_share() -> None:
    found = associations(sources([20.0 - at for at in range(LEAST_TRIALS)]), "chat")
    assert found[0].rho == pytest.approx(-1)
    assert found[0].share == pytest.approx(1)


def test_equal_values_share_their_rank() -> None:
    from scipy.stats import spearmanr

    speeds = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0]
    expected = spearmanr(range(len(speeds)), speeds).statistic
    assert associations(sources(speeds), "chat")[0].rho == pytest.approx(expected)


def test_settings_and_speeds_without_a_difference_are_left_out() -> None:
    assert associations(measured(result(trials=RISING)), "code") == []


def test_few_trials_say_nothing() -> None:
    assert associations(measured(result(trials=RISING[:-1])), "chat") == []


def test_the_more_trials_the_less_is_chance() -> None:
    assert chance_share(3) == 1.0
    assert chance_share(100) == pytest.approx(0.0388, abs=1e-4)
