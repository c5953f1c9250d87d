"""Which measurements of a trial count, and which trials."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finalists import CHAT, CODE, VRAM, finalist, in_rounds, outcome, outcomes, rounds, split, trial
from layertune.config import Floor, Objective
from layertune.results.trials import FinishedTrial, contenders, front, missed, objective_value
from layertune.trial.outcome import Failed
from layertune.units import MIB

ONCE = trial(0, {"chat": [99.0, 98.0, 97.0]}, peak_mib=10)
AGAIN = finalist(1, 20, chat=rounds(20.0, 22.0, 21.0))


def test_of_a_finalist_only_the_rounds_count() -> None:
    metric = AGAIN.metric("chat", "tokens_per_s")
    assert metric is not None
    assert metric.samples == (20.0, 22.0, 21.0)
    assert objective_value(CHAT, AGAIN) == 21.0
    assert AGAIN.by_round("chat", "tokens_per_s") == {("finals", 0): 20.0, ("finals", 1): 22.0, ("finals", 2): 21.0}


def test_without_finals_the_search_s_own_measurement_counts() -> None:
    assert objective_value(CHAT, ONCE) == 98.0
    assert ONCE.by_round("chat", "tokens_per_s") == {("search", 0): 98.0}


def test_the_round_of_several_repetitions_counts_once() -> None:
    twice = in_rounds(AGAIN, "finals", {0: outcome({"chat": [10.0, 30.0]}), 1: outcome({"chat": [20.0, 22.0]})})
    assert twice.by_round("chat", "tokens_per_s") == {("finals", 0): 20.0, ("finals", 1): 21.0}
    assert objective_value(CHAT, twice) == 20.5


def test_a_quantity_that_only_some_rounds_have_is_of_those_rounds() -> None:
    """Latencies beside a prefill are measured in the first rounds only."""
    rounds_of = outcomes(AGAIN)
    samples = replace(rounds_of[1].models["chat"].samples, ttft_s_beside_prefill=(4.0, 6.0))
    rounds_of[1] = replace(rounds_of[1], models={"chat": replace(rounds_of[1].models["chat"], samples=samples)})
    found = in_rounds(AGAIN, "finals", rounds_of)
    metric = found.metric("chat", "ttft_s_beside_prefill")
    assert metric is not None
    assert (metric.median, metric.n, metric.low) == (5.0, 2, None)
    assert found.by_round("chat", "ttft_s_beside_prefill") == {("finals", 1): 5.0}
    assert found.metric("chat", "tpot_s_beside_prefill") is None


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_the_peak_is_the_most_that_any_round_took(peaks_mib: list[float]) -> None:
    taken = {n_round: outcome({"chat": [20.0]}, peak_mib) for n_round, peak_mib in enumerate(peaks_mib)}
    found = in_rounds(AGAIN, "finals", taken)
    assert found.peak_bytes() == max(20 * MIB, *(round(peak_mib * MIB) for peak_mib in peaks_mib))
    assert objective_value(VRAM, found) == found.peak_bytes()


def test_after_finals_only_finalists_are_contenders() -> None:
    other = finalist(2, 30, chat=rounds(30.0, 30.0, 30.0))
    assert contenders([ONCE, AGAIN, other]) == [AGAIN, other]
    assert contenders([ONCE]) == [ONCE]


def test_trials_that_were_measured_once_stay_on_the_front_beside_finalists() -> None:
    """A finalist is not dominated by what was measured once and at another time."""
    other = finalist(2, 30, chat=rounds(30.0, 30.0, 30.0))
    assert front([ONCE, AGAIN, other], (CHAT, VRAM)) == [ONCE, AGAIN, other]


@pytest.mark.parametrize(("speed", "on_front"), [(89.0, False), (91.0, True)])
def test_a_trial_that_was_measured_once_is_compared_by_what_the_search_measured(speed: float, on_front: bool) -> None:
    """The search measured 90 tokens/s of the finalist, the finals 30."""
    once, again = trial(0, {"chat": [speed]}, peak_mib=40), finalist(1, 30, chat=rounds(30.0, 30.0, 30.0))
    assert front([once, again], (CHAT, VRAM)) == ([once, again] if on_front else [again])


def test_finalists_are_compared_in_their_common_rounds_only() -> None:
    """The machine was twice as fast in the last two rounds, in which one of the two took no part."""
    dropped = finalist(1, 20, chat=rounds(22.0, 22.0))
    stayed = finalist(2, 30, chat=rounds(20.0, 20.0, 40.0, 40.0))
    assert front([dropped, stayed], (CHAT, VRAM)) == [dropped]
    assert objective_value(CHAT, stayed) > objective_value(CHAT, dropped)


def test_finalists_without_a_common_round_do_not_dominate_each_other() -> None:
    early, late = finalist(1, 20, chat={0: 20.0, 1: 20.0}), finalist(2, 20, chat={2: 10.0, 3: 10.0})
    assert front([early, late], (CHAT,)) == [early, late]


def test_a_finalist_over_a_limit_is_no_contender() -> None:
    over = finalist(2, 30, excess=1.0, chat=rounds(30.0, 30.0, 30.0))
    assert contenders([ONCE, AGAIN, over]) == [AGAIN]


def test_a_dominated_finalist_is_not_on_the_front() -> None:
    slower = finalist(2, 30, chat=rounds(10.0, 10.0, 10.0))
    assert front([AGAIN, slower], (CHAT, VRAM)) == [AGAIN]


@pytest.mark.parametrize("objective", [CODE, Objective("code.ttft_s", "minimize")])
def test_a_quantity_that_was_not_measured_is_an_error(objective: Objective) -> None:
    empty = trial(0, {"chat": [1.0], "code": []})
    with pytest.raises(ValueError, match=rf"trial 0 has no {objective.name}"):
        objective_value(objective, empty)


def test_a_trial_that_was_not_measured_has_no_values() -> None:
    crashed = FinishedTrial.of(7, split(1, "chat"), Failed("crashed", "SIGSEGV", (), 0.1), {})
    with pytest.raises(ValueError, match="trial 7 was not measured"):
        objective_value(CHAT, crashed)


def test_a_floor_counts_for_the_rounds_of_the_finals() -> None:
    floor = Floor.parse("chat.tokens_per_s >= 21", ["chat"])
    lucky_at_first = in_rounds(
        trial(2, {"chat": [99.0]}, peak_mib=10), "finals", outcomes(finalist(2, 5, chat=rounds(19.0)))
    )
    assert missed(AGAIN, [floor]) == []
    assert missed(lucky_at_first, [floor]) == [floor]
    assert front([AGAIN, lucky_at_first], [CHAT, VRAM], [floor]) == [AGAIN]


def test_below_every_floor_there_is_no_front() -> None:
    assert front([AGAIN], [CHAT], [Floor.parse("chat.tokens_per_s >= 1000", ["chat"])]) == []
