import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.verify.requests import Answered, Failed, Percentiles, Phase

LATENCIES = st.lists(st.floats(0, 1e6), min_size=1)


def answered(ttft_s: float, tpot_s: float | None, n_generated: int = 4, n_reused: int | None = 0) -> Answered:
    return Answered(0.0, ttft_s, tpot_s, 1.0, n_generated, n_reused=n_reused)


def test_a_requests_rate_counts_one_step_per_token_as_in_the_study() -> None:
    assert answered(1.0, 0.25).tokens_per_s() == pytest.approx(4 / (1.0 + 4 * 0.25))
    assert answered(1.0, None, n_generated=1).tokens_per_s() is None


def test_tokens_in_the_first_text_count_towards_ttft_and_not_towards_tpot() -> None:
    delayed = Answered(0.0, 1.5, 0.25, 2.25, 4, n_first=3)
    assert delayed.tokens_per_s() == pytest.approx(answered(1.0, 0.25).tokens_per_s())
    assert Answered(0.0, None, None, 2.0, 4, n_first=4).tokens_per_s() is None


def test_a_phase_counts_answers_and_the_reasons_of_failures() -> None:
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


def test_throughput_of_a_model_ends_with_its_own_last_answer() -> None:
    fast, slow = Answered(1.0, 0.5, 0.5, 3.0, 8), Answered(0.0, 0.5, 0.5, 16.0, 8)
    phase = Phase("load test", 1, 16.0, {"chat": [fast, Failed(2.0, "stalled")], "code": [slow]})
    assert phase.stats("chat").throughput_tokens_per_s == 2.0
    assert phase.stats("code").throughput_tokens_per_s == 0.5


def test_a_phase_without_answers_has_no_latencies() -> None:
    stats = Phase("load test", 1, 2.0, {"chat": [Failed(0.0, "stalled")]}).stats("chat")
    assert (stats.ttft_s, stats.tpot_s, stats.tokens_per_s) == (None, None, None)
    assert stats.throughput_tokens_per_s == 0.0


def test_percentiles_are_nearest_ranks() -> None:
    assert Percentiles.of([float(value) for value in range(1, 101)]) == Percentiles(50.0, 95.0, 99.0)
    assert Percentiles.of([3.0, 1.0, 2.0]) == Percentiles(2.0, 3.0, 3.0)
    assert Percentiles.of([]) is None


@given(LATENCIES)
def test_percentiles_are_samples_in_order(samples: list[float]) -> None:
    found = Percentiles.of(samples)
    assert found is not None
    assert {found.p50, found.p95, found.p99} <= set(samples)
    assert found.p50 <= found.p95 <= found.p99 <= max(samples)
    assert sum(sample <= found.p95 for sample in samples) >= 0.95 * len(samples)
