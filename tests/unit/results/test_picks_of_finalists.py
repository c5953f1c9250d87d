"""Picks among trials that were measured in rounds: of equals the leanest, and who is clearly faster before any."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finalists import finalist, rounds
from layertune.results.picks import Candidate, candidates, choose, compare_candidates
from layertune.results.trials import FinishedTrial

noise = st.sampled_from([0.97, 0.99, 1.0, 1.01, 1.03])


@st.composite
def in_rounds(draw: st.DrawFn) -> list[FinishedTrial]:
    """Up to six trials, near to each other in both models' speeds, that came through all four rounds."""
    found = []
    for number in range(draw(st.integers(1, 6))):
        chat, code = draw(st.sampled_from([19.0, 20, 20.4, 30])), draw(st.sampled_from([9.0, 10, 10.2]))
        factors = draw(st.lists(noise, min_size=4, max_size=4))
        speeds = {
            "chat": rounds(*(chat * each for each in factors)),
            "code": rounds(*(code / each for each in factors)),
        }
        found.append(finalist(number, draw(st.integers(0, 3)), **speeds))
    return found


def slower(one: Candidate, other: Candidate, model: str) -> bool:
    compared = compare_candidates(one, other, {model: 1.0})
    return compared is not None and not compared.tied and compared.ratio < 1


@settings(deadline=None)
@given(in_rounds())
def test_the_fastest_pick_is_the_leanest_of_those_that_are_not_slower(tried: list[FinishedTrial]) -> None:
    there = candidates(tried)
    picks, by_number = choose(there), {each.number: each for each in there}
    for model in ("chat", "code"):
        best_median = max(each.tokens_per_s[model] for each in there)
        fastest = [each for each in there if each.tokens_per_s[model] == best_median]
        pick = by_number[picks[model]]
        assert any(not slower(pick, each, model) for each in fastest)
        leaner = [each for each in there if each.peak_bytes < pick.peak_bytes]
        assert all(any(slower(each, best, model) for best in fastest) for each in leaner)


@settings(deadline=None)
@given(in_rounds(), st.data())
def test_picks_do_not_depend_on_the_order_of_the_candidates(tried: list[FinishedTrial], data: st.DataObject) -> None:
    assert choose(candidates(data.draw(st.permutations(tried)))) == choose(candidates(tried))


LEAN = finalist(0, 100, chat=rounds(20.0, 20.4, 19.8, 20.1))


def test_a_luckier_trial_with_more_memory_is_not_picked() -> None:
    luckier = finalist(1, 200, chat=rounds(20.3, 20.2, 20.1, 20.0))
    assert set(choose(candidates([LEAN, luckier])).values()) == {0}


def test_a_clearly_faster_trial_is_picked_and_the_leaner_one_is_lean() -> None:
    faster = finalist(1, 200, chat=rounds(21.0, 21.4, 20.8, 21.1))
    assert choose(candidates([LEAN, faster])) == {"balanced": 1, "chat": 1, "lean": 0}


def test_the_leaner_trial_is_not_picked_where_noise_may_hide_a_loss_of_five_percent() -> None:
    maybe_faster = finalist(1, 200, chat=rounds(22.0, 19.9, 22.0, 20.8))
    assert choose(candidates([LEAN, maybe_faster])) == {"balanced": 1, "chat": 1, "lean": 0}


def test_of_equals_in_memory_the_faster_median_is_picked() -> None:
    faster = finalist(1, 100, chat=rounds(20.3, 20.2, 20.1, 20.3))
    assert set(choose(candidates([LEAN, faster])).values()) == {1}


def test_a_candidate_has_its_speeds_in_each_round() -> None:
    (candidate,) = candidates([finalist(4, 1, chat=rounds(20.0, 22.0), code={0: 9.0, 1: 8.0})])
    assert candidate.number == 4
    assert candidate.tokens_per_s == {"chat": 21.0, "code": 8.5}
    assert candidate.rounds == {
        ("finals", 0): {"chat": 20.0, "code": 9.0},
        ("finals", 1): {"chat": 22.0, "code": 8.0},
    }


def test_a_trial_that_is_clearly_faster_round_by_round_is_not_called_slower_for_its_median() -> None:
    """A machine that drifts by more than the two differ, and a round that the faster one did not come through."""
    machine = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    slow = finalist(0, 200, chat=rounds(*(20.0 * speed for speed in machine)))
    fast = finalist(1, 100, chat=rounds(*(22.0 * speed for speed in machine[:5])))
    one, other = candidates([slow, fast])
    assert one.tokens_per_s["chat"] > other.tokens_per_s["chat"]
    assert slower(one, other, "chat")
    assert choose([one, other])["chat"] == 1


@pytest.mark.parametrize("model", ["chat", "code"])
def test_a_model_s_pick_does_not_depend_on_the_other_model(model: str) -> None:
    other = {"chat": "code", "code": "chat"}[model]
    fast = finalist(0, 200, **{model: rounds(30.0, 30.1, 29.9), other: rounds(1.0, 1.0, 1.0)})
    slow = finalist(1, 100, **{model: rounds(20.0, 20.1, 19.9), other: rounds(9.0, 9.0, 9.0)})
    assert choose(candidates([fast, slow]))[model] == 0


def test_a_leaner_trial_that_one_model_pays_for_is_not_the_balanced_pick() -> None:
    """Chat is clearly slower there, and code varies so much that the score of both shows no clear difference."""
    fast = finalist(0, 200, chat=rounds(30.0, 30.1, 29.9, 30.0), code=rounds(9.0, 10.9, 9.1, 11.0))
    lean = finalist(1, 100, chat=rounds(28.5, 28.6, 28.4, 28.5), code=rounds(11.0, 9.2, 10.9, 9.1))
    assert choose(candidates([fast, lean])) == {"balanced": 0, "chat": 0, "code": 1, "even": 0, "lean": 1}
