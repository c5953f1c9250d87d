import pytest

from layertune.verify.requests import Answered, Failed, Phase


def answered(ttft_s: float, tpot_s: float | None, n_generated: int = 4, n_reused: int | None = 0) -> Answered:
    return Answered(0.0, ttft_s, tpot_s, 1.0, n_generated, n_reused=n_reused)


def test_a_request_counts_a_step_for_every_token_as_the_study_does() -> None:
    assert answered(1.0, 0.25).tokens_per_s() == pytest.approx(4 / (1.0 + 4 * 0.25))
    assert answered(1.0, None, n_generated=1).tokens_per_s() is None


def test_tokens_that_came_with_the_first_text_are_steps_that_its_ttft_has_already() -> None:
    held_back = Answered(0.0, 1.5, 0.25, 2.25, 4, n_first=3)
    assert held_back.tokens_per_s() == pytest.approx(answered(1.0, 0.25).tokens_per_s())
    assert Answered(0.0, None, None, 2.0, 4, n_first=4).tokens_per_s() is None


def test_a_phase_tells_of_what_was_answered_and_why_the_rest_was_not() -> None:
    outcomes = [
        answered(1.0, 0.5),
        answered(3.0, 0.5, n_reused=2),
        Failed(0.1, "status 503"),
        Failed(0.2, "status 503"),
    ]
    phase = Phase("load test", 4, 2.0, {"chat": outcomes, "code": [Failed(0.0, "stalled")]})
    stats = phase.stats("chat")
    assert (stats.n_answered, stats.n_failed, stats.n_tokens, stats.n_reused) == (2, 2, 8, 2)
    assert stats.throughput_tokens_per_s == 8.0
    assert stats.ttft_s is not None
    assert (stats.ttft_s.p50, stats.ttft_s.p99) == (1.0, 3.0)
    assert phase.failures() == {"chat: status 503": 2, "code: stalled": 1}


def test_a_model_that_is_done_does_not_wait_for_the_slower_one() -> None:
    fast, slow = Answered(1.0, 0.5, 0.5, 3.0, 8), Answered(0.0, 0.5, 0.5, 16.0, 8)
    phase = Phase("load test", 1, 16.0, {"chat": [fast, Failed(2.0, "stalled")], "code": [slow]})
    assert phase.stats("chat").throughput_tokens_per_s == 2.0
    assert phase.stats("code").throughput_tokens_per_s == 0.5


def test_a_phase_without_an_answer_has_no_latency() -> None:
    stats = Phase("load test", 1, 2.0, {"chat": [Failed(0.0, "stalled")]}).stats("chat")
    assert (stats.ttft_s, stats.tpot_s, stats.tokens_per_s) == (None, None, None)
    assert stats.throughput_tokens_per_s == 0.0
