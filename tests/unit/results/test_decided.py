"""When the finals have told enough."""

import pytest

from finalists import CHAT, CODE, VRAM, finalist, rounds
from layertune.config import Objective
from layertune.config.objective import Floor
from layertune.results.decided import is_decided

OBJECTIVES = (CHAT, CODE, VRAM)

LEAN = finalist(0, 100, chat=rounds(20.0, 20.2, 19.8), code=rounds(9.0, 9.1, 8.9))


def test_without_a_front_nothing_is_open() -> None:
    assert is_decided([], OBJECTIVES, 0.01)
    assert is_decided([finalist(0, 100, excess=1.0, chat=rounds(1.0, 2.0), code=rounds(1.0, 2.0))], OBJECTIVES, 0.01)


def test_finalists_that_all_failed_leave_nothing_open() -> None:
    failed = [finalist(number, 100 * number, chat={}, code={}) for number in (0, 1)]
    assert is_decided(failed, OBJECTIVES, 0.01)


def test_one_finalist_alone_has_won() -> None:
    assert is_decided([LEAN], OBJECTIVES, 0.01)


def test_what_is_clearly_better_somewhere_is_decided() -> None:
    faster = finalist(1, 200, chat=rounds(30.0, 30.3, 29.7), code=rounds(9.0, 9.1, 8.9))
    assert is_decided([LEAN, faster], OBJECTIVES, 0.01)


@pytest.mark.parametrize("factor", [0.97, 1.0, 1.03])
def test_a_tie_is_open_while_noise_is_wider_than_the_margin(factor: float) -> None:
    """Whoever is ahead: the leaner one stands for both, although the other may be five percent faster."""
    other = finalist(1, 200, chat=rounds(*(factor * each for each in (21.0, 19.0, 20.0))), code=rounds(9.0, 9.1, 8.9))
    assert not is_decided([LEAN, other], OBJECTIVES, 0.05)


def test_a_tie_is_decided_once_less_than_the_margin_is_left_of_it() -> None:
    other = finalist(1, 200, chat=rounds(20.05, 20.2, 19.8), code=rounds(9.0, 9.11, 8.9))
    assert is_decided([LEAN, other], OBJECTIVES, 0.01)
    assert not is_decided([LEAN, other], OBJECTIVES, 0.001)


def test_a_tie_of_a_time_that_is_to_be_short_is_decided_alike() -> None:
    ttft = Objective("chat.ttft_s", "minimize")
    near = finalist(1, 200, chat=rounds(20.05, 20.2, 19.8), code=rounds(9.0, 9.1, 8.9))
    far = finalist(1, 200, chat=rounds(21.0, 19.0, 20.0), code=rounds(9.0, 9.1, 8.9))
    assert is_decided([LEAN, near], (ttft, VRAM), 0.01)
    assert not is_decided([LEAN, far], (ttft, VRAM), 0.01)


def test_memory_is_no_matter_of_noise() -> None:
    fat = finalist(1, 200, chat=rounds(22.0, 18.0, 20.0))
    assert is_decided([LEAN, fat], (VRAM,), 0.01)
    assert not is_decided([LEAN, fat], (CHAT, VRAM), 0.01)


def test_a_single_round_decides_nothing() -> None:
    one, other = finalist(0, 100, chat=rounds(20.0)), finalist(1, 100, chat=rounds(10.0))
    assert not is_decided([one, other], (CHAT, VRAM), 0.01)


def test_rounds_of_different_hours_decide_nothing() -> None:
    early, late = finalist(0, 100, chat={0: 20.0, 1: 20.1}), finalist(1, 100, chat={2: 10.0, 3: 10.1})
    assert not is_decided([early, late], (CHAT, VRAM), 0.01)


def test_who_misses_a_floor_is_out_whatever_noise_hides() -> None:
    slow = finalist(1, 200, chat=rounds(21.0, 18.0, 19.0), code=rounds(5.0, 5.1, 4.9))
    floors = (Floor(Objective("code.tokens_per_s", "maximize"), 8.0),)
    assert not is_decided([LEAN, slow], (CHAT, VRAM), 0.01)
    assert is_decided([LEAN, slow], (CHAT, VRAM), 0.01, floors)


def test_a_pick_that_passes_over_a_faster_one_must_be_shown_to_be_as_fast() -> None:
    """Both on the front, each for its own reason; which is the pick for chat is a matter of noise."""
    lean = finalist(0, 100, chat=rounds(20.0, 20.5, 19.0), code=rounds(9.0, 9.1, 8.9))
    fat = finalist(1, 200, chat=rounds(20.5, 19.8, 20.6), code=rounds(12.0, 12.1, 11.9))
    assert not is_decided([lean, fat], OBJECTIVES, 0.01)
    assert is_decided([lean, fat], OBJECTIVES, 0.2)
