"""Which trials are measured again, and in which order."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from finalists import CHAT, VRAM, outcome, split, trial
from layertune.results.choice import Choice
from layertune.results.trials import FinishedTrial, feasible_trials
from layertune.sampler.selection import estimates, speed_priors
from layertune.search.finals import Contest, round_order
from layertune.search.study_record import Rounds
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.trial.outcome import Failed, Infeasible
from layertune.units import MIB

OBJECTIVES = (CHAT, VRAM)
LIMITS = Limits((200 * MIB,), 0, None, n_processes=1, file_bytes={"chat": MIB})


def contenders(
    trials: Sequence[FinishedTrial], baselines: Collection[SplitSettings], n_most: int, least_gain: float = 0.0
) -> list[FinishedTrial]:
    feasible = feasible_trials(trials)
    contest = Contest(trials, feasible, speed_priors({}, trials, feasible), {}, least_gain, LIMITS)
    return contest.contenders(choice(trials), baselines, n_most)


def choice(trials: Sequence[FinishedTrial]) -> Choice:
    feasible = feasible_trials(trials)
    return Choice.of(trials, OBJECTIVES, estimates=estimates(feasible, speed_priors({}, trials, feasible)))


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


@given(searched(), st.data(), st.integers(1, 6))
def test_the_picks_and_the_best_baseline_are_contenders_and_no_more_than_so_many_others(
    trials: list[FinishedTrial], data: st.DataObject, n_most: int
) -> None:
    baselines = {trials[number].settings for number in data.draw(st.sets(st.sampled_from(range(len(trials)))))}
    chosen = contenders(trials, baselines, n_most)
    feasible, picked = feasible_trials(trials), set(choice(trials).picks.values())
    assert [each for each in feasible if each in chosen] == chosen
    assert picked <= {each.number for each in chosen}
    there = [each for each in feasible if each.settings in baselines]
    fastest = max((speed(each) for each in there), default=0.0)
    assert not there or any(each.settings in baselines and speed(each) == fastest for each in chosen)
    assert len(chosen) <= max(n_most, len(picked)) + 1


def speed(trial: FinishedTrial) -> float:
    (found,) = trial.by_round("chat", "tokens_per_s").values()
    return found


@given(searched())
def test_no_trial_over_a_limit_is_measured_again(trials: list[FinishedTrial]) -> None:
    over = [replace(each, violations={"vram": 1.0}) for each in trials]
    assert contenders(over, {each.settings for each in over}, 4) == []
    kept = contenders(trials, {each.settings for each in trials}, 9)
    assert all(each.feasible() is not None for each in kept)


def steady(number: int, speed: float, peak_mib: float) -> FinishedTrial:
    return trial(number, {"chat": [speed, speed * 1.001, speed * 0.999]}, peak_mib)


def test_a_baseline_that_is_clearly_beaten_is_measured_again_all_the_same() -> None:
    slow, fast = steady(0, 10.0, 300), steady(1, 20.0, 100)
    assert contenders([slow, fast], {slow.settings}, 4, 0.002) == [slow, fast]
    assert contenders([slow, fast], (), 4, 0.002) == [fast]


def test_of_several_baselines_only_the_best_is_measured_again_and_it_does_not_count_against_the_most() -> None:
    slow, fast, lean = steady(0, 10.0, 300), steady(1, 20.0, 200), steady(2, 12.0, 300)
    assert contenders([slow, fast, lean], {slow.settings, lean.settings}, 1, 0.002) == [fast, lean]


def test_the_rivals_that_may_gain_the_most_are_measured_again() -> None:
    trials = [steady(0, 20.0, 100), steady(1, 19.8, 100), steady(2, 19.5, 100), steady(3, 10.0, 100)]
    assert [each.number for each in contenders(trials, (), 2, 0.0005)] == [0, 1]
    assert [each.number for each in contenders(trials, (), 9, 0.0005)] == [0, 1, 2]


def test_a_rival_is_left_out_of_further_rounds_once_it_is_shown_to_be_slower() -> None:
    trials = [steady(0, 20.0, 100), steady(1, 19.8, 100), steady(2, 19.9, 100)]
    contest = Contest(trials, trials, speed_priors({}, trials, trials), {}, 0.002, LIMITS)
    speeds = {0: 20.0, 1: 15.0, 2: 20.01}
    rounds: Rounds = {
        number: dict.fromkeys(range(2), outcome({"chat": [each]}, 100)) for number, each in speeds.items()
    }
    picked = Choice.of(contest.held(contest.trials, rounds), OBJECTIVES, estimates=contest.estimates(rounds))
    assert contest.left(picked, trials, {}) == {0, 1, 2}
    assert contest.left(picked, trials, rounds) == {0, 2}
    assert contest.left(picked, [trials[0]], rounds) == set()


def test_a_contender_that_breaks_a_limit_in_a_round_is_left_out() -> None:
    trials = [steady(0, 20.0, 100), steady(1, 20.1, 100)]
    contest = Contest(trials, trials, speed_priors({}, trials, trials), {}, 0.0, LIMITS)
    refused = Infeasible("load", "chat", "no room", 7, 0.1)
    rounds: Rounds = {0: {0: outcome({"chat": [20.0]}, 100)}, 1: {0: refused}}
    held = contest.held(contest.trials, rounds)
    picked = Choice.of(held, OBJECTIVES, estimates=estimates(held, contest.priors))
    assert set(picked.picks.values()) == {0}
    assert contest.left(picked, trials, rounds) == set()


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
