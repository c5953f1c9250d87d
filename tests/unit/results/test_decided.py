"""When noise could no longer change a pick."""

import random
from collections.abc import Sequence
from math import exp, log

import pytest

from finalists import CHAT, CODE, VRAM, finalist, in_rounds, outcome, rounds, trial
from layertune.config import Objective
from layertune.config.objective import Floor
from layertune.results import choice
from layertune.results.choice import ERROR, Choice
from layertune.results.trials import FinishedTrial, feasible_trials
from layertune.sampler.selection import estimates, speed_priors
from layertune.trial.outcome import Failed

OBJECTIVES = (CHAT, CODE, VRAM)
MOST_ROUNDS = 6


def chosen(
    trials: Sequence[FinishedTrial], margin: float | None = 0.01, floors: Sequence[Floor] = (), *objectives: Objective
) -> Choice:
    feasible = feasible_trials(trials)
    known = estimates(feasible, speed_priors({}, trials, feasible))
    return Choice.of(trials, objectives or OBJECTIVES, floors, margin=margin, estimates=known)


LEAN = finalist(0, 100, chat=rounds(20.0, 20.01, 19.99), code=rounds(9.0, 9.01, 8.99))
FASTER = finalist(1, 200, chat=rounds(30.0, 30.01, 29.99), code=rounds(9.5, 9.51, 9.49))


def test_without_finals_estimates_or_a_margin_a_choice_is_neither_decided_nor_open() -> None:
    once = trial(0, {"chat": [20.0], "code": [9.0]}, 100)
    assert chosen([]).decided is None
    assert chosen([once]).decided is None
    assert chosen([LEAN], margin=None).decided is None
    assert Choice.of([LEAN], OBJECTIVES, margin=0.01).decided is None


def test_finalists_that_all_failed_are_no_finals() -> None:
    crashed = Failed("crashed", "SIGSEGV", (), 0.1)
    failed = [in_rounds(trial(n, {"chat": [9.0], "code": [9.0]}, n), "finals", {0: crashed}) for n in (0, 1)]
    assert chosen(failed).decided is None


def test_a_single_finalist_is_a_decided_choice() -> None:
    assert chosen([LEAN]).decided


def test_what_is_clearly_fastest_for_all_models_is_decided() -> None:
    assert chosen([LEAN, FASTER]).decided


@pytest.mark.parametrize("factor", [0.97, 1.0, 1.03])
def test_a_choice_is_open_while_noise_is_wider_than_the_margin(factor: float) -> None:
    wild = rounds(*(factor * each for each in (22.0, 18.0, 20.0)))
    other = finalist(1, 200, chat=wild, code=rounds(9.0, 9.1, 8.9))
    assert chosen([LEAN, other]).decided is False


def test_a_larger_margin_is_decided_earlier() -> None:
    near = finalist(1, 200, chat=rounds(20.0, 20.4, 19.8), code=rounds(9.0, 9.1, 8.9))
    assert chosen([LEAN, near], 0.01).decided is False
    assert chosen([LEAN, near], 0.5).decided


def test_trials_without_common_rounds_decide_nothing_that_is_near() -> None:
    early = finalist(0, 100, chat={0: 20.0, 1: 20.1}, code={0: 9.0, 1: 9.0})
    late = finalist(1, 100, chat={2: 20.2, 3: 20.1}, code={2: 9.0, 3: 9.0})
    assert chosen([early, late]).decided is False


def test_a_trial_below_a_floor_leaves_nothing_open() -> None:
    slow = finalist(1, 200, chat=rounds(21.0, 18.0, 19.0), code=rounds(5.0, 5.1, 4.9))
    floors = (Floor(Objective("code.tokens_per_s", "maximize"), 8.0),)
    assert chosen([LEAN, slow]).decided is False
    assert chosen([LEAN, slow], 0.01, floors).decided


def n_decided(n_studies: int, n_settings: int, margin: float, noise: float, spread: float) -> tuple[int, int]:
    """Return in how many studies the choice is ever called decided, and in how many of these wrongly: although a
    setting is faster than the pick by more than the margin. The machine's own speed differs from round to round."""
    generator = random.Random(1)
    n_said = n_wrong = 0
    for _ in range(n_studies):
        true = [log(20) + generator.gauss(0, spread) for _ in range(n_settings)]

        def measure(number: int, machine: float) -> float:
            return exp(true[number] + machine + generator.gauss(0, noise))  # noqa: B023

        first = [trial(n, {"chat": [measure(n, 0.0)]}, 10 * n) for n in range(n_settings)]
        machine = [generator.gauss(0, 0.1) for _ in range(MOST_ROUNDS)]
        again = [[measure(n, each) for each in machine] for n in range(n_settings)]
        for n_rounds in range(1, MOST_ROUNDS + 1):
            held = [
                in_rounds(each, "finals", {at: outcome({"chat": [again[n][at]]}, 10 * n) for at in range(n_rounds)})
                for n, each in enumerate(first)
            ]
            found = chosen(held, margin, (), CHAT, VRAM)
            if found.decided:
                n_said += 1
                n_wrong += max(true) - true[found.picks["balanced"]] > log(1 + margin)
                break
    return n_said, n_wrong


@pytest.mark.parametrize(("n_settings", "spread"), [(2, 0.03), (4, 0.05)])
def test_a_choice_is_called_decided_wrongly_in_at_most_five_percent_of_the_studies_in_which_it_is_said(
    n_settings: int, spread: float
) -> None:
    n_said, n_wrong = n_decided(150, n_settings, margin=0.01, noise=0.02, spread=spread)
    assert n_said >= 40
    assert n_wrong <= 0.05 * n_said


def test_errors_grow_with_the_error_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    few, _ = n_decided(40, 4, margin=0.01, noise=0.02, spread=0.05)
    monkeypatch.setattr(choice, "ERROR", 10 * ERROR)
    many, _ = n_decided(40, 4, margin=0.01, noise=0.02, spread=0.05)
    assert many > few
