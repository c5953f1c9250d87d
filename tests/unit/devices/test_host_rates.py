import pytest

from layertune.devices.host import n_usable_cores
from layertune.devices.host_rates import HostRates, measure_host, parse_rates


def test_the_host_is_measured_with_at_most_a_thread_per_core() -> None:
    measured = measure_host([1, 4096])
    assert measured is not None
    assert measured.n_threads == tuple(sorted({1, n_usable_cores()}))
    assert min(*measured.bytes_per_s, *measured.flops_per_s) > 0


@pytest.mark.parametrize(("n_threads", "expected"), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (64, 4.0)])
def test_rates_between_measured_threads_are_interpolated(n_threads: int, expected: float) -> None:
    rates = HostRates((1, 4), (1.0, 4.0), (2.0, 8.0))
    assert (rates.reads(n_threads), rates.computes(n_threads)) == (expected, 2 * expected)


def test_a_reply_without_rates_is_none() -> None:
    assert parse_rates(b"[[], [], []]") is None
