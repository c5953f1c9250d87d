"""Which trials are measured again, and in which order."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from finalists import CHAT, VRAM, split, trial
from layertune.config import Objective
from layertune.results.choice import Choice
from layertune.results.trials import FinishedTrial, front
from layertune.search import finals
from layertune.search.finals import round_order
from layertune.settings import SplitSettings
from layertune.trial.outcome import Failed, Infeasible

OBJECTIVES = (CHAT, VRAM)


def finalists(
    trials: Sequence[FinishedTrial], objectives: Sequence[Objective], baselines: Collection[SplitSettings], n_most: int
) -> list[FinishedTrial]:
    return finals.finalists(trials, objectives, baselines, n_most, (), Choice.of(trials, objectives))


noise = st.sampled_from([0.98, 0.99, 1.0, 1.01, 1.02])


@st.composite
def searched(draw: st.DrawFn) -> list[FinishedTrial]:
    """Up to ten trials: near and far, noisy and steady, over the limit, and some that were not measured."""
    found = []
    for number in range(draw(st.integers(1, 10))):
        if draw(st.integers(0, 5)) == 0:
            outcome = draw(
                st.sampled_from([Infeasible("load", "chat", "no room", 1, 0.1), Failed("hung", "no result", (), 1.0)])
            )
            found.append(FinishedTrial.of(number, split(number, "chat"), outcome, {"vram": 1.0}))
            continue
        speed, factors = draw(st.sampled_from([10.0, 20, 20.2, 20.4])), draw(st.lists(noise, min_size=3, max_size=3))
        excess = draw(st.sampled_from([-1.0, -1.0, 1.0]))
        speeds = [speed * factor for factor in factors]
        found.append(trial(number, {"chat": speeds}, draw(st.integers(0, 3)), excess=excess))
    return found


@given(searched(), st.data(), st.integers(1, 4))
def test_all_feasible_baselines_are_measured_again_and_no_more_than_so_many_others(
    trials: list[FinishedTrial], data: st.DataObject, n_most: int
) -> None:
    baselines = {trials[number].settings for number in data.draw(st.sets(st.sampled_from(range(len(trials)))))}
    chosen = finalists(trials, OBJECTIVES, baselines, n_most)
    feasible = [each for each in trials if each.feasible() is not None]
    assert [each for each in feasible if each in chosen] == chosen
    assert all(each in chosen for each in feasible if each.settings in baselines)
    assert sum(each.settings not in baselines for each in chosen) <= n_most


@given(searched(), st.integers(1, 9))
def test_the_front_comes_before_what_noise_may_have_kept_off_it(trials: list[FinishedTrial], n_most: int) -> None:
    chosen = finalists(trials, OBJECTIVES, (), n_most)
    on_front = front(trials, OBJECTIVES)
    left_out = [each for each in on_front if each not in chosen]
    assert not left_out or all(each in on_front for each in chosen)
    assert len(chosen) >= min(n_most, len(on_front))


@given(searched())
def test_no_trial_over_a_limit_is_measured_again(trials: list[FinishedTrial]) -> None:
    over = [replace(each, violations={"vram": 1.0}) for each in trials]
    assert finalists(over, OBJECTIVES, {each.settings for each in over}, 4) == []


def steady(number: int, speed: float, peak_mib: float) -> FinishedTrial:
    return trial(number, {"chat": [speed, speed * 1.001, speed * 0.999]}, peak_mib)


def baseline(finished: FinishedTrial) -> set[SplitSettings]:
    return {finished.settings}


def test_a_baseline_that_is_clearly_beaten_is_measured_again_all_the_same() -> None:
    slow, fast = steady(0, 10.0, 300), steady(1, 20.0, 100)
    assert finalists([slow, fast], OBJECTIVES, baseline(slow), 4) == [slow, fast]
    assert finalists([slow, fast], OBJECTIVES, (), 4) == [fast]


def test_baselines_do_not_count_against_the_cap() -> None:
    slow, fast, lean = steady(0, 10.0, 300), steady(1, 20.0, 200), steady(2, 15.0, 100)
    assert finalists([slow, fast, lean], OBJECTIVES, baseline(slow) | baseline(lean), 1) == [slow, fast, lean]


def test_what_noise_may_have_kept_off_the_front_is_measured_again_once_the_front_is() -> None:
    fast = trial(0, {"chat": [20.0, 20.4, 20.8]}, 100)
    unlucky = trial(1, {"chat": [19.0, 20.0, 21.0]}, 100)
    beaten = steady(2, 10.0, 100)
    assert front([fast, unlucky, beaten], OBJECTIVES) == [fast]
    assert finalists([fast, unlucky, beaten], OBJECTIVES, (), 4) == [fast, unlucky]
    assert finalists([fast, unlucky, beaten], OBJECTIVES, (), 1) == [fast]


def test_the_picks_come_before_the_rest_of_the_front() -> None:
    """The fastest and the leanest of four on the front, of which only two may be measured again."""
    trials = [steady(0, 40.0, 400), steady(1, 25.0, 300), steady(2, 37.0, 200), steady(3, 10.0, 100)]
    assert [each.number for each in front(trials, OBJECTIVES)] == [0, 2, 3]
    assert [each.number for each in finalists(trials, OBJECTIVES, (), 2)] == [0, 2]


numbers = st.lists(st.integers(0, 999), unique=True, max_size=12)


@given(numbers, st.integers(0, 9), st.sampled_from(["1 finals", "2 finals", "1 confirming"]))
def test_every_finalist_is_once_in_the_order_of_a_round(order: list[int], n_round: int, seed: str) -> None:
    assert sorted(round_order(order, n_round, seed)) == sorted(order)
    assert round_order(order, n_round, seed) == round_order(order, n_round, seed)


def test_orders_differ_from_round_to_round_and_from_seed_to_seed() -> None:
    orders = {
        tuple(round_order(range(8), n_round, seed))
        for n_round in range(6)
        for seed in ("1 finals", "2 finals", "1 confirming")
    }
    assert len(orders) == 18


def test_no_finalist_is_at_the_same_place_in_all_rounds() -> None:
    places = [round_order(range(8), n_round, "1 finals") for n_round in range(6)]
    for number in range(8):
        assert len({order.index(number) for order in places}) > 1
