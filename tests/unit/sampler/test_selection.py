"""What the search and common rounds tell of the contenders' speeds."""

from collections.abc import Sequence
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import t as student

from finalists import in_rounds, outcome, trial
from layertune.results.estimates import Difference
from layertune.results.trials import FinishedTrial
from layertune.sampler.posterior import model_engines
from layertune.sampler.selection import SpeedPrior, estimates, expected_gain, speed_priors
from layertune.trial.outcome import Measured, ModelReport
from linear_machine import SPACE, Machine, feasible, split
from small_study import N_LAYERS, config


@pytest.mark.parametrize("mean", [-0.05, -0.01, 0.0, 0.02])
@pytest.mark.parametrize("n_degrees", [6, 12, 40])
def test_the_expected_gain_is_the_integral_of_all_gains(mean: float, n_degrees: int) -> None:
    scale = 0.02
    found, _ = quad(lambda x: x * student.pdf((x - mean) / scale, n_degrees) / scale, 0, np.inf, limit=200)
    assert expected_gain(Difference(mean, scale, n_degrees)) == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize(("mean", "gain"), [(-0.1, 0.0), (0.1, 0.1)])
def test_a_difference_that_is_known_gains_itself_or_nothing(mean: float, gain: float) -> None:
    assert expected_gain(Difference(mean, 0.0, 6)) == gain


FIRST = [trial(number, {"chat": [speed]}) for number, speed in enumerate((20.0, 21.0, 22.0))]


def held(*rounds: Sequence[float | None]) -> list[FinishedTrial]:
    """Return the three trials with rounds, each of which measured the trials that have a speed there."""
    return [
        in_rounds(
            each,
            "finals",
            {at: outcome({"chat": [speed]}) for at, of in enumerate(rounds) if (speed := of[each.number]) is not None},
        )
        for each in FIRST
    ]


def prior(noise: float = 0.02) -> SpeedPrior:
    covariance = np.array([[4.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 5.0]]) * 1e-4
    rows = {each.settings["chat"]: row for row, each in enumerate(FIRST)}
    return SpeedPrior(rows, np.log([20.0, 21.0, 22.0]), covariance, noise)


def test_without_rounds_all_that_is_known_is_the_prior() -> None:
    found = estimates(held(), {"chat": prior()})
    assert found.mean["chat"] == pytest.approx(prior().mean)
    assert found.covariance["chat"] == pytest.approx(prior().covariance)


def test_one_round_gives_the_posterior_of_the_gaussian_formula() -> None:
    """With one round the noise is what the search says. The round's own speed is an unknown of a very wide prior."""
    speeds = np.log([20.5, 20.4, 23.0])
    found = estimates(held([*np.exp(speeds)]), {"chat": prior()})
    seen = prior().covariance + 0.02**2 * np.eye(3) + 1e4
    gain = prior().covariance @ np.linalg.inv(seen)
    mean, covariance = prior().mean + gain @ (speeds - prior().mean), prior().covariance - gain @ prior().covariance
    for one, other in ((0, 1), (1, 2), (0, 2)):
        difference = found.difference(one, other, {"chat": 1.0})
        variance = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
        assert difference.mean == pytest.approx(mean[one] - mean[other], abs=1e-6)
        assert difference.scale**2 == pytest.approx(variance, rel=1e-3)


drifts = st.lists(st.floats(-1, 1), min_size=3, max_size=3)


@given(drifts)
def test_a_machine_that_drifts_between_rounds_changes_no_difference(drift: list[float]) -> None:
    rounds: list[list[float | None]] = [[20.0, 20.5, 22.0], [20.2, 20.4, None], [19.9, None, 22.3]]
    moved = [[None if x is None else x * exp(by) for x in each] for each, by in zip(rounds, drift, strict=True)]
    steady, drifted = (estimates(held(*each), {"chat": prior()}) for each in (rounds, moved))
    assert drifted.mean["chat"] == pytest.approx(steady.mean["chat"], abs=1e-9)
    assert drifted.covariance["chat"] == pytest.approx(steady.covariance["chat"], abs=1e-9)


def test_a_round_of_one_trial_tells_nothing() -> None:
    found = estimates(held([25.0, None, None]), {"chat": prior()})
    assert found.mean["chat"] == pytest.approx(prior().mean)


def test_more_rounds_make_a_difference_more_certain() -> None:
    scales = [
        estimates(held(*[[20.0, 21.0, 22.0]] * n), {"chat": prior()}).difference(0, 1, {"chat": 1.0}).scale
        for n in range(5)
    ]
    assert scales == sorted(scales, reverse=True)


def test_rounds_that_scatter_more_than_the_search_said_leave_differences_less_certain() -> None:
    calm = estimates(held(*[[20.0, 21.0, 22.0]] * 4), {"chat": prior()})
    wild = estimates(held([20, 21, 22], [23, 20, 21], [19, 23, 22], [21, 20, 24]), {"chat": prior()})
    assert wild.difference(0, 1, {"chat": 1.0}).scale > calm.difference(0, 1, {"chat": 1.0}).scale
    assert wild.n_degrees == calm.n_degrees == 6 + 12 - 4 - 2


def test_without_a_model_of_time_the_search_s_own_speeds_are_known() -> None:
    found = estimates(FIRST, speed_priors({}, FIRST, FIRST))
    assert found.speeds(1) == pytest.approx({"chat": 21.0})
    assert speed_priors({}, [], []) == {}


def test_a_lucky_trial_is_drawn_to_its_neighbours_with_a_model_of_time() -> None:
    machine, lucky = Machine(), 3
    fitting = feasible(1.0)
    workloads = {name: model.workload for name, model in config().models.items()}
    models = model_engines(SPACE, fitting, workloads)

    def tried(number: int, layers: int) -> FinishedTrial:
        settings, noise = split(layers, layers), 1 / 1.1 if number == lucky else 1.0
        reports = {
            name: ModelReport(machine.samples(name, engine, noise), {}, load_s=0.1, flash_attn=None)
            for name, engine in settings.items()
        }
        return FinishedTrial.of(number, settings, Measured(reports, None, 1, 1.0), {})

    trials = [tried(number, layers) for number, layers in enumerate((1, 3, 4, 5, 6, 7, 9))]
    known = estimates(trials, speed_priors(models, trials, trials))
    for name in N_LAYERS:
        (measured,) = trials[lucky].by_round(name, "tokens_per_s").values()
        true = measured / 1.1
        assert log(known.speeds(lucky)[name] / true) < 0.5 * log(1.1)
