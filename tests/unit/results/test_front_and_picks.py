from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layertune.config import Objective
from layertune.results.pareto import pareto_front
from layertune.results.picks import LEAN_SHARE, Candidate, candidates, choose
from layertune.results.trials import FinishedTrial, front
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import measured
from layertune.trial.outcome import Infeasible

points = hnp.arrays(np.float64, st.tuples(st.integers(1, 25), st.just(3)), elements=st.integers(-5, 5).map(float))
DIRECTIONS = ("maximize", "minimize", "maximize")


def dominates(first: np.ndarray, second: np.ndarray) -> bool:
    gains = (first - second) * np.array([1, -1, 1])
    return bool((gains >= 0).all() and (gains > 0).any())


@given(points)
def test_no_point_of_the_front_is_dominated_and_every_other_is(values: np.ndarray) -> None:
    mask = pareto_front(values, DIRECTIONS)
    for index, kept in enumerate(mask):
        assert kept == (not any(dominates(other, values[index]) for other in values))
        assert kept or any(dominates(values[other], values[index]) for other in np.flatnonzero(mask))


@given(points, st.data())
def test_the_front_does_not_depend_on_the_order(values: np.ndarray, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(values))))
    assert (pareto_front(values[order], DIRECTIONS) == pareto_front(values, DIRECTIONS)[order]).all()


def test_equal_points_stay_together_on_the_front() -> None:
    assert pareto_front(np.array([[1.0, 1], [1, 1], [0, 2]]), ("maximize", "minimize")).tolist() == [True, True, False]


candidate_lists = st.lists(
    st.builds(
        Candidate,
        st.integers(0, 1000),
        st.fixed_dictionaries({"chat": st.floats(0.1, 100), "code": st.floats(0.1, 100)}),
        st.integers(0, 10),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda each: each.number,
)


@given(candidate_lists)
def test_picks_are_what_their_names_say(tried: list[Candidate]) -> None:
    picks, by_number = choose(tried), {each.number: each for each in tried}
    assert picks.keys() == {"balanced", "chat", "code", "even", "lean"}
    for model in ("chat", "code"):
        assert by_number[picks[model]].tokens_per_s[model] == max(each.tokens_per_s[model] for each in tried)
    best = {model: by_number[picks[model]].tokens_per_s[model] for model in ("chat", "code")}

    def score(each: Candidate) -> float:
        return ((each.tokens_per_s["chat"] / best["chat"]) * (each.tokens_per_s["code"] / best["code"])) ** 0.5

    def smallest_share(each: Candidate) -> float:
        return min(each.tokens_per_s[model] / best[model] for model in ("chat", "code"))

    assert smallest_share(by_number[picks["even"]]) == max(smallest_share(each) for each in tried)
    balanced, lean = by_number[picks["balanced"]], by_number[picks["lean"]]
    assert score(balanced) == pytest.approx(max(score(each) for each in tried))
    assert score(lean) >= LEAN_SHARE * score(balanced) * (1 - 1e-9)
    for each in tried:
        assert lean.peak_bytes <= each.peak_bytes or score(each) <= LEAN_SHARE * score(balanced) * (1 + 1e-9)


def test_picks_of_three_models_are_named_after_them() -> None:
    fast = Candidate(0, {"a": 3.0, "b": 1.0, "c": 1.0}, 10)
    even = Candidate(1, {"a": 2.0, "b": 2.0, "c": 2.0}, 10)
    assert choose([fast, even]) == {"balanced": 1, "a": 0, "b": 1, "c": 1, "even": 1, "lean": 1}


def test_the_even_pick_slows_no_model_more_than_it_has_to() -> None:
    fast = Candidate(0, {"chat": 100.0, "code": 6.0}, 10)
    even = Candidate(1, {"chat": 70.0, "code": 8.0}, 20)
    other = Candidate(2, {"chat": 30.0, "code": 10.0}, 5)
    picks = choose([fast, even, other])
    assert (picks["balanced"], picks["even"]) == (0, 1)


def test_of_equally_even_trials_the_leanest_is_picked() -> None:
    tried = [Candidate(number, {"chat": 5.0, "code": 5.0}, peak) for number, peak in ((0, 30), (2, 10), (1, 10))]
    assert choose(tried)["even"] == 1


def test_one_model_has_no_even_pick() -> None:
    assert "even" not in choose([Candidate(0, {"chat": 5.0}, 1)])


def test_without_a_gpu_the_lean_pick_is_the_balanced_one() -> None:
    on_cpu = [replace(each.outcome, vram=None) for each in (trial(0, 1), trial(1, 5))]
    finished = [FinishedTrial.of(number, trial(number, 1).settings, each, {}) for number, each in enumerate(on_cpu)]
    assert front(finished, OBJECTIVES) == [finished[1]]
    assert choose(candidates(finished)) == {"balanced": 1, "chat": 1, "lean": 1}


@given(candidate_lists, st.floats(0.01, 100))
def test_the_balanced_pick_does_not_depend_on_a_models_scale(tried: list[Candidate], scale: float) -> None:
    scaled = [
        Candidate(each.number, {**each.tokens_per_s, "code": each.tokens_per_s["code"] * scale}, each.peak_bytes)
        for each in tried
    ]
    best = {model: max(each.tokens_per_s[model] for each in tried) for model in ("chat", "code")}

    def score(number: int) -> float:
        (each,) = [each for each in tried if each.number == number]
        return (each.tokens_per_s["chat"] / best["chat"]) * (each.tokens_per_s["code"] / best["code"])

    assert score(choose(scaled)["balanced"]) == pytest.approx(score(choose(tried)["balanced"]), rel=1e-9)


def test_lean_gives_up_a_little_speed_for_memory_but_not_more() -> None:
    fast = Candidate(0, {"chat": 100.0}, 1000)
    lean = Candidate(1, {"chat": 100.0 * LEAN_SHARE}, 500)
    slow = Candidate(2, {"chat": 50.0}, 10)
    assert choose([fast, lean, slow]) == {"balanced": 0, "chat": 0, "lean": 1}


def test_ties_go_to_less_memory_then_to_the_earlier_trial() -> None:
    trials = [Candidate(0, {"chat": 5.0}, 20), Candidate(2, {"chat": 5.0}, 10), Candidate(1, {"chat": 5.0}, 10)]
    assert set(choose(trials).values()) == {1}


def test_a_model_that_counts_more_moves_the_balanced_pick() -> None:
    there = [Candidate(0, {"chat": 30.0, "code": 10.0}, 1), Candidate(1, {"chat": 18.0, "code": 15.0}, 1)]
    assert choose(there)["balanced"] == 0
    assert choose(there, {"code": 3.0})["balanced"] == 1
    assert choose(there, {"chat": 0.0})["balanced"] == 1


def test_without_candidates_there_is_no_pick() -> None:
    assert choose([]) == {}


def trial(number: int, n_gpu_layers: int, excess: float = 0.0) -> FinishedTrial:
    engine = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=256, n_batch=64, n_ubatch=64, n_threads=1)
    settings = SplitSettings.of({"chat": engine})
    return FinishedTrial.of(number, settings, measured(settings), {"vram": excess})


OBJECTIVES = (Objective("chat.tokens_per_s", "maximize"), Objective("vram.peak_bytes", "minimize"))


def test_only_feasible_measured_trials_come_onto_the_front() -> None:
    refused = FinishedTrial.of(3, trial(0, 9).settings, Infeasible("load", "chat", "refused", 1, 0.1), {"vram": 1.0})
    trials = [trial(0, 1), trial(1, 5), trial(2, 9, excess=1.0), refused]
    assert [each.number for each in front(trials, OBJECTIVES)] == [0, 1]
    assert front([refused], OBJECTIVES) == []
