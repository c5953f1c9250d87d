import random
from dataclasses import replace
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finalists import CHAT, VRAM, split, trial
from layertune.config import Objective
from layertune.results.bounds import Bounds, clearly_beaten, trial_bounds
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings
from layertune.trial.outcome import Infeasible

OBJECTIVES = (CHAT, VRAM)
TTFT = Objective("chat.ttft_s", "minimize")


@st.composite
def bounds(draw: st.DrawFn) -> Bounds:
    pairs = draw(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=2))
    best = tuple(float(low) for low, _ in pairs)
    return Bounds(best, tuple(low + width for low, (_, width) in zip(best, pairs, strict=True)))


@given(bounds())
def test_nothing_beats_itself(mine: Bounds) -> None:
    assert not mine.beats(mine)


@given(bounds(), bounds())
def test_of_two_at_most_one_beats_the_other(ours: Bounds, theirs: Bounds) -> None:
    assert not (ours.beats(theirs) and theirs.beats(ours))


@given(bounds(), bounds(), bounds())
def test_what_beats_the_better_one_beats_the_worse_one_too(first: Bounds, second: Bounds, third: Bounds) -> None:
    if first.beats(second) and second.beats(third):
        assert first.beats(third)


@given(bounds(), bounds(), st.integers(0, 1), st.floats(0, 5))
def test_more_noise_never_beats_more(ours: Bounds, theirs: Bounds, at: int, more: float) -> None:
    worst = tuple(value + more * (index == at) for index, value in enumerate(ours.worst))
    assert ours.beats(theirs) or not replace(ours, worst=worst).beats(theirs)


def beaten(one: FinishedTrial, *others: FinishedTrial) -> FinishedTrial | None:
    return clearly_beaten(trial_bounds(OBJECTIVES, one), others, OBJECTIVES)


SLOW = trial(0, {"chat": [10.0, 10.1, 9.9]}, peak_mib=100)
FAST = trial(1, {"chat": [20.0, 20.2, 19.8]}, peak_mib=100)


def test_a_trial_is_beaten_where_another_is_faster_beyond_noise_for_no_more_memory() -> None:
    assert beaten(SLOW, FAST) is FAST
    assert beaten(FAST, SLOW) is None
    assert beaten(SLOW, SLOW) is None


def test_less_memory_at_the_same_speed_does_not_beat_beyond_noise() -> None:
    leaner = trial(2, {"chat": [20.0, 20.2, 19.8]}, peak_mib=90)
    assert beaten(FAST, leaner) is None


def test_a_faster_trial_that_takes_more_memory_beats_none() -> None:
    assert beaten(SLOW, trial(2, {"chat": [20.0, 20.0, 20.0]}, peak_mib=100.5)) is None


def test_a_faster_median_within_the_noise_of_both_beats_none() -> None:
    assert beaten(SLOW, trial(2, {"chat": [9.0, 11.0, 13.0]}, peak_mib=100)) is None


def test_less_is_better_where_an_objective_says_so() -> None:
    objectives = (TTFT, VRAM)
    assert clearly_beaten(trial_bounds(objectives, SLOW), [FAST], objectives) is FAST
    assert clearly_beaten(trial_bounds(objectives, FAST), [SLOW], objectives) is None


def test_a_larger_context_is_not_beaten_by_a_faster_trial() -> None:
    objectives = (CHAT, Objective("chat.n_ctx", "maximize"))
    engine = replace(SLOW.settings["chat"], n_ctx=2048)
    larger = replace(SLOW, settings=SplitSettings.of({"chat": engine}))
    assert clearly_beaten(trial_bounds(objectives, SLOW), [FAST], objectives) is FAST
    assert clearly_beaten(trial_bounds(objectives, larger), [FAST], objectives) is None


@pytest.mark.parametrize("samples", [{"chat": [10.0]}, {"chat": [10.0, 10.0]}])
def test_a_trial_with_a_single_sample_neither_beats_nor_is_beaten(samples: dict[str, list[float]]) -> None:
    one = trial(2, samples, peak_mib=100)
    assert (beaten(one, FAST) is None) == (len(samples["chat"]) == 1)
    once = trial(3, {"chat": [99.0]}, peak_mib=1)
    assert beaten(SLOW, once) is None


def test_a_trial_over_a_limit_or_not_measured_beats_none() -> None:
    refused = FinishedTrial.of(3, split(9, "chat"), Infeasible("load", "chat", "no room", 1, 0.1), {"vram": 1.0})
    assert beaten(SLOW, replace(FAST, violations={"vram": 1.0}), refused) is None
    assert trial_bounds(OBJECTIVES, refused) is None


def test_equals_are_rarely_called_beaten_by_noise() -> None:
    generator = random.Random(1)

    def noisy(number: int) -> FinishedTrial:
        return trial(number, {"chat": [20 * exp(generator.gauss(0, 0.02)) for _ in range(4)]}, peak_mib=100)

    n_beaten = sum(beaten(noisy(0), noisy(1)) is not None for _ in range(500))
    assert n_beaten <= 0.02 * 500


def test_a_difference_that_two_loads_of_one_setting_can_have_beats_none() -> None:
    """Repetitions of one load scatter less than loads do: drift.py has CLEAR_DRIFT for it."""
    lucky_load = trial(2, {"chat": [20.6, 20.61, 20.59]}, peak_mib=100)
    unlucky_load = trial(3, {"chat": [20.0, 20.01, 19.99]}, peak_mib=100)
    assert beaten(unlucky_load, lucky_load) is None
