from hypothesis import given
from hypothesis import strategies as st

from layertune.verify.percentiles import Percentiles

LATENCIES = st.lists(st.floats(0, 1e6), min_size=1)


def test_the_nearest_rank_is_a_sample() -> None:
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
