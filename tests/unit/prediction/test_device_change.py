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


def test_fewer_threads_are_slower_by_their_number_or_by_what_they_read() -> None:
    change = between_threads(bandwidth_ratio=1.6, thread_ratio=2.0)
    assert (change.token, change.prompt) == (Factor(1.6, 2.0), Factor(1.6, 2.0))


@pytest.mark.parametrize(
    ("bandwidth_ratio", "thread_ratio", "factor"), [(0.9, 2.0, Factor(1.0, 2.0)), (1.1, 0.5, Factor(0.5, 1.0))]
)
def test_a_noisy_bandwidth_makes_fewer_threads_no_faster_and_more_no_slower(
    bandwidth_ratio: float, thread_ratio: float, factor: Factor
) -> None:
    assert between_threads(bandwidth_ratio, thread_ratio).token == factor
