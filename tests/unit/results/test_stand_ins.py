"""What is left of a front once trials that only noise tells apart are one."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finalists import CHAT, CODE, VRAM, finalist, rounds, trial
from layertune.config.objective import Floor
from layertune.results.choice import Choice, compare_rounds, first_of_equals, front_without_ties
from layertune.results.trials import FinishedTrial, front

OBJECTIVES = (CHAT, CODE, VRAM)

noise = st.sampled_from([0.97, 0.98, 0.99, 1.0, 1.01, 1.02, 1.03])
factors = st.lists(noise, min_size=5, max_size=5)


@st.composite
def finalists(draw: st.DrawFn) -> list[FinishedTrial]:
    """Up to six trials of near speeds, as noisy as they differ; some have not come through one of five rounds."""
    found = []
    for number in range(draw(st.integers(1, 6))):
        chat, code = draw(st.sampled_from([19.0, 20, 21, 40])), draw(st.sampled_from([9.0, 10, 10.3]))
        there = draw(st.sets(st.integers(0, 4), min_size=4)) if draw(st.booleans()) else set(range(5))
        speeds = {
            name: {n: speed * factor for n, factor in enumerate(draw(factors)) if n in there}
            for name, speed in (("chat", chat), ("code", code))
        }
        found.append(
            finalist(number, draw(st.integers(0, 4)), scope=draw(st.sampled_from(["card", "process"])), **speeds)
        )
    return found


def faster(one: FinishedTrial, other: FinishedTrial) -> bool:
    """Clearly, or by so much at the best guess that it is no tie."""
    compared = [compare_rounds(one, other, name, "tokens_per_s") for name in ("chat", "code")]
    return any(each is not None and not each.tied and each.ratio > 1 for each in compared)


@settings(deadline=None)
@given(finalists())
def test_what_is_kept_and_what_is_tied_are_the_whole_front(tried: list[FinishedTrial]) -> None:
    kept, tied = front_without_ties(tried, OBJECTIVES)
    assert kept
    assert [each for each in tried if each in kept] == kept
    assert {each.number for each in kept} | tied.keys() == {each.number for each in tried}
    assert tied.keys().isdisjoint(each.number for each in kept)
    assert set(tied.values()) <= {each.number for each in kept}


@settings(deadline=None)
@given(finalists(), st.data())
def test_what_is_kept_does_not_depend_on_the_order(tried: list[FinishedTrial], data: st.DataObject) -> None:
    kept, _ = front_without_ties(tried, OBJECTIVES)
    again, _ = front_without_ties(data.draw(st.permutations(tried)), OBJECTIVES)
    assert {each.number for each in again} == {each.number for each in kept}


@settings(deadline=None)
@given(finalists())
def test_no_trial_that_is_kept_is_leaner_than_another_and_slower_in_nothing(
    tried: list[FinishedTrial],
) -> None:
    kept, _ = front_without_ties(tried, OBJECTIVES)
    for one in kept:
        for other in kept:
            leaner = one.peak_bytes() < other.peak_bytes() - 2 * 2**20
            assert one is other or not leaner or faster(other, one)


@settings(deadline=None)
@given(finalists())
def test_what_is_left_out_is_faster_than_none_it_is_tied_with(tried: list[FinishedTrial]) -> None:
    _, tied = front_without_ties(tried, OBJECTIVES)
    for number, other in tied.items():
        assert not faster(tried[number], tried[other])


@settings(deadline=None)
@given(finalists())
def test_ties_of_a_front_are_of_that_front(tried: list[FinishedTrial]) -> None:
    there = front(tried, OBJECTIVES)
    kept, tied = front_without_ties(there, OBJECTIVES)
    assert {each.number for each in kept} | tied.keys() == {each.number for each in there}


LEAN = finalist(0, 100, chat=rounds(20.0, 20.4, 19.8, 20.1))


def test_a_trial_that_is_faster_within_noise_and_takes_more_memory_is_tied_with_the_leaner_one() -> None:
    luckier = finalist(1, 200, chat=rounds(20.3, 20.2, 20.1, 20.0))
    kept, tied = front_without_ties([LEAN, luckier], (CHAT, VRAM))
    assert kept == [LEAN]
    assert tied == {1: 0}


def test_a_trial_that_is_faster_by_more_than_a_tie_may_cost_stays_although_noise_hides_it() -> None:
    maybe_faster = finalist(1, 200, chat=rounds(22.0, 19.0, 22.0, 20.8))
    assert not clearly_faster_at_chat(maybe_faster, LEAN)
    assert front_without_ties([LEAN, maybe_faster], (CHAT, VRAM)) == ([LEAN, maybe_faster], {})


def test_a_trial_that_is_not_clearly_better_does_not_stand_in_for_one_with_as_little_memory() -> None:
    """As on the CPU: by more than a tie may cost at the best guess, but not shown; the other's rest is as good."""
    early = finalist(0, 100, chat=rounds(20.0, 20.4, 19.8, 20.1), code=rounds(9.05, 9.0, 9.1, 9.05))
    maybe_faster = finalist(1, 100, chat=rounds(22.0, 19.0, 22.0, 20.8), code=rounds(9.0, 8.95, 9.05, 9.0))
    assert not clearly_faster_at_chat(maybe_faster, early)
    assert front_without_ties([early, maybe_faster], (CHAT, CODE)) == ([early, maybe_faster], {})


def test_a_trial_that_is_clearly_faster_stays_beside_the_leaner_one() -> None:
    faster = finalist(1, 200, chat=rounds(22.0, 22.4, 21.8, 22.1))
    assert front_without_ties([LEAN, faster], (CHAT, VRAM)) == ([LEAN, faster], {})


def test_a_trial_that_is_clearly_faster_for_one_model_stays_whatever_the_other_does() -> None:
    lean = finalist(0, 100, chat=rounds(20.0, 20.4, 19.8), code=rounds(9.0, 9.1, 8.9))
    faster = finalist(1, 200, chat=rounds(20.1, 20.3, 19.9), code=rounds(12.0, 12.1, 11.9))
    assert front_without_ties([lean, faster], OBJECTIVES) == ([lean, faster], {})


@pytest.mark.parametrize(("slow", "fast"), [(0, 1), (1, 0)])
def test_of_equals_in_memory_the_clearly_faster_one_stays_whichever_came_first(slow: int, fast: int) -> None:
    """As on the CPU, where all trials take none of the device: the slower one is on the front by a lucky median."""
    slower = finalist(slow, 100, chat=rounds(18.0, 18.4, 17.8, 18.1), code=rounds(9.1, 9.0, 9.2, 9.1))
    faster = finalist(fast, 100, chat=rounds(20.0, 20.4, 19.8, 20.1), code=rounds(9.0, 9.1, 9.1, 9.05))
    there = front([slower, faster], OBJECTIVES)
    assert len(there) == 2
    assert front_without_ties(there, OBJECTIVES) == ([faster], {slow: fast})


def test_equals_that_differ_in_nothing_both_stay() -> None:
    same = finalist(1, 100, chat=rounds(*LEAN.by_round("chat", "tokens_per_s").values()))
    assert front_without_ties([LEAN, same], (CHAT, VRAM)) == ([LEAN, same], {})


def test_pages_of_a_polled_driver_are_no_difference_in_memory() -> None:
    for scope, is_tied in (("card", True), ("process", False)):
        lean = finalist(0, 100, scope=scope, chat=rounds(20.0, 20.4, 19.8))
        page_more = finalist(1, 101.5, scope=scope, chat=rounds(20.1, 20.3, 19.9))
        _, tied = front_without_ties([lean, page_more], (CHAT, VRAM))
        assert bool(tied) == is_tied


def test_a_circle_of_trials_that_beat_each_other_is_never_emptied() -> None:
    first = finalist(0, chat={0: 20.0, 1: 20.0, 2: 20.0, 6: 10.0, 7: 10.0, 8: 10.0})
    second = finalist(1, chat={0: 10.0, 1: 10.0, 2: 10.0, 3: 20.0, 4: 20.0, 5: 20.0})
    third = finalist(2, chat={3: 10.0, 4: 10.0, 5: 10.0, 6: 20.0, 7: 20.0, 8: 20.0})
    circle = [first, second, third]
    assert all(clearly_faster_at_chat(circle[at], circle[(at + 1) % 3]) for at in range(3))
    kept, tied = front_without_ties(circle, (CHAT, VRAM))
    assert kept
    assert len(kept) + len(tied) == 3


def clearly_faster_at_chat(one: FinishedTrial, other: FinishedTrial) -> bool:
    compared = compare_rounds(one, other, "chat", "tokens_per_s")
    return compared is not None and compared.clear and compared.ratio > 1


@pytest.mark.parametrize("first", [LEAN, trial(0, {"chat": [20.0]}, peak_mib=100)])
def test_trials_without_rounds_are_never_tied(first: FinishedTrial) -> None:
    once = trial(1, {"chat": [20.0]}, peak_mib=200)
    assert front_without_ties([first, once], (CHAT, VRAM)) == ([first, once], {})
    assert front_without_ties([], (CHAT, VRAM)) == ([], {})


def test_small_steps_that_noise_hides_do_not_add_up_to_a_clear_loss() -> None:
    """Each is within noise of its neighbours, and the fastest is clearly faster than the leanest."""
    up_and_down, down_and_up = (1.01, 0.99, 1.01, 0.99), (0.99, 1.01, 0.99, 1.01)
    leanest = finalist(0, 100, chat=rounds(*(20.0 * factor for factor in up_and_down)))
    middle = finalist(1, 200, chat=rounds(*(20.15 * factor for factor in down_and_up)))
    fastest = finalist(2, 300, chat=rounds(*(20.3 * factor for factor in up_and_down)))
    assert not clearly_faster_at_chat(middle, leanest)
    assert not clearly_faster_at_chat(fastest, middle)
    assert clearly_faster_at_chat(fastest, leanest)
    assert front_without_ties([leanest, middle, fastest], (CHAT, VRAM)) == ([leanest, fastest], {1: 0})


def shown(trials: list[FinishedTrial], floors: Sequence[Floor] = ()) -> tuple[list[FinishedTrial], dict[int, int]]:
    choice = Choice.of(trials, OBJECTIVES, floors)
    return list(choice.front), dict(choice.stand_ins)


STEADY = {"code": rounds(10, 10.1, 9.9, 10)}


def test_the_earliest_of_equal_trials_stands_in_for_all() -> None:
    slow = finalist(0, 0, chat=rounds(20, 20.2, 19.8, 20), **STEADY)
    first = finalist(1, 5, chat=rounds(40, 41, 39, 40), **STEADY)
    lucky = finalist(2, 5, chat=rounds(40.3, 40.6, 39.4, 40.6), **STEADY)
    best, tied = shown([slow, first, lucky])
    assert front([slow, first, lucky], OBJECTIVES) == [slow, lucky]
    assert (best, tied) == ([slow, first], {2: 1})


@pytest.mark.parametrize(
    "other",
    [
        finalist(2, 5, chat=rounds(44, 45, 43, 44), **STEADY),
        finalist(2, 6, chat=rounds(40, 41, 39, 40), **STEADY),
        finalist(2, 5, chat={0: 40.0}, code={0: 10.0}),
    ],
    ids=["clearly faster", "more memory", "a single round in common"],
)
def test_trials_that_differ_are_not_equal(other: FinishedTrial) -> None:
    first = finalist(1, 5, chat=rounds(40, 41, 39, 40), **STEADY)
    assert first_of_equals([first, other], OBJECTIVES) == ([first, other], {})


def test_an_equal_below_a_floor_does_not_stand_in_for_one_above_it() -> None:
    below = finalist(1, 5, chat=rounds(39, 40, 38, 39), **STEADY)
    above = finalist(2, 5, chat=rounds(39.3, 39.7, 38.4, 39.5), **STEADY)
    assert first_of_equals([below, above], OBJECTIVES) == ([below], {2: 1})
    floor = Floor.parse("chat.tokens_per_s >= 39.2", ["chat", "code"])
    assert shown([below, above], [floor]) == ([above], {})


@settings(deadline=None)
@given(finalists())
def test_a_stand_in_is_on_the_front_and_stands_in_for_none_that_is(tried: list[FinishedTrial]) -> None:
    best, tied = shown(tried)
    numbers = {each.number for each in best}
    assert best
    assert set(tied.values()) <= numbers
    assert numbers.isdisjoint(tied)
    assert {each.number for each in best} <= {each.number for each in tried}
