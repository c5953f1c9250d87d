from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.trial.time_spent import Stopwatch, TimeSpent

seconds = st.integers(0, 1000).map(float)
clocks = st.builds(TimeSpent, seconds, seconds, seconds, seconds)


def spend() -> None:
    """Return once the clock has moved."""
    started_s = perf_counter()
    while perf_counter() == started_s:
        pass


@given(st.lists(clocks))
def test_times_are_added_part_by_part(each: list[TimeSpent]) -> None:
    total = sum(each, start=TimeSpent())
    assert total.load_s == sum(clock.load_s for clock in each)
    assert total.warm_up_s == sum(clock.warm_up_s for clock in each)
    assert total.measure_s == sum(clock.measure_s for clock in each)
    assert total.unload_s == sum(clock.unload_s for clock in each)
    assert total.total_s == sum(clock.total_s for clock in each)


def test_an_unused_stopwatch_reads_zero() -> None:
    assert Stopwatch().read() == TimeSpent()


def test_time_counts_only_for_its_own_part() -> None:
    watch = Stopwatch()
    with watch.part("measure"):
        spend()
    spent = watch.read()
    assert spent.measure_s > 0
    assert spent == TimeSpent(measure_s=spent.measure_s)


def test_a_repeated_part_adds_up() -> None:
    watch = Stopwatch()
    with watch.part("load"):
        spend()
    once = watch.read()
    with watch.part("load"):
        spend()
    assert watch.read().load_s > once.load_s > 0


def test_a_part_that_ends_with_an_exception_counts() -> None:
    watch = Stopwatch()

    def interrupted() -> None:
        with watch.part("warm_up"):
            spend()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert watch.read().warm_up_s > 0
