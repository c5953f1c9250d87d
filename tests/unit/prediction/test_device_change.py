import pytest

from layertune.prediction import between_cards, between_threads
from layertune.prediction.device_change import Factor


def test_a_token_changes_at_least_by_what_its_weights_take_to_be_read() -> None:
    change = between_cards(ratio=0.5, token_share=0.6)
    assert change.token == Factor(0.5, 0.7)
    assert change.token.expected == pytest.approx(0.6)


def test_of_a_prompt_a_bandwidth_tells_nothing_but_two_ends() -> None:
    assert between_cards(ratio=0.5, token_share=0.6).prompt == Factor(0.5, 1.0)
    assert between_cards(ratio=2.0, token_share=0.6).prompt == Factor(1.0, 2.0)


def test_weights_that_cannot_be_read_so_fast_are_all_of_the_time() -> None:
    assert between_cards(ratio=2.0, token_share=1.3).token == Factor(2.0, 2.0)


@pytest.mark.parametrize(("thread_ratio", "factor"), [(2.0, Factor(1.0, 2.0)), (0.25, Factor(0.25, 1.0))])
def test_threads_share_all_of_the_work_or_none(thread_ratio: float, factor: Factor) -> None:
    change = between_threads(thread_ratio)
    assert (change.token, change.prompt) == (factor, factor)
