import sys

import pytest

if sys.platform == "win32":
    pytest.skip("the emulated card needs POSIX record locks", allow_module_level=True)

import multiprocessing
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from layertune.devices.emulated.ledger import Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger.create(1000)
    yield ledger
    ledger.close()


def test_allocations_are_counted_up_to_the_cap_and_refused_above_it(ledger: Ledger) -> None:
    assert ledger.take(0, 600)
    assert ledger.take(1, 400)
    assert not ledger.take(0, 50)
    card = ledger.state()
    assert (card.used_bytes, card.peak_bytes, card.n_refused, card.excess_bytes) == (1000, 1000, 1, 50)


def test_the_peak_includes_memory_that_was_freed(ledger: Ledger) -> None:
    ledger.take(0, 700)
    ledger.give_back(0, 700)
    ledger.take(0, 100)
    assert (ledger.state().used_bytes, ledger.state().peak_bytes) == (100, 700)


def test_queries_are_counted_for_each_server(ledger: Ledger) -> None:
    ledger.count_query(3)
    ledger.count_query(3)
    assert [ledger.n_queries(server) for server in (0, 3)] == [0, 2]


def test_a_reset_peak_is_what_is_in_use(ledger: Ledger) -> None:
    ledger.take(0, 700)
    ledger.give_back(0, 500)
    assert not ledger.take(0, 900)
    ledger.reset_peak()
    card = ledger.state()
    assert (card.used_bytes, card.peak_bytes, card.n_refused) == (200, 200, 1)


def test_bytes_of_a_server_without_a_query_are_foreign(ledger: Ledger) -> None:
    ledger.count_query(0)
    ledger.take(0, 300)
    ledger.take(7, 200)
    ledger.take(15, 100)
    ledger.give_back(7, 200)
    assert (ledger.server_bytes(0), ledger.server_bytes(7), ledger.server_bytes(15)) == (300, 0, 100)
    assert (ledger.foreign_bytes(), ledger.foreign_peak_bytes()) == (100, 300)
    ledger.reset_peak()
    assert (ledger.foreign_bytes(), ledger.foreign_peak_bytes()) == (100, 100)


def test_restoring_a_ledger_removes_the_traces_of_a_check(ledger: Ledger) -> None:
    before = ledger.state()
    ledger.take(0, 4)
    ledger.give_back(0, 4)
    ledger.restore(before)
    assert (ledger.state().peak_bytes, ledger.foreign_peak_bytes()) == (0, 0)


def test_two_views_of_one_ledger_have_the_same_state(ledger: Ledger) -> None:
    Ledger(ledger.descriptor).take(0, 10)
    assert ledger.state().used_bytes == 10


def _take_and_give(descriptor: int, server: int) -> None:
    ledger = Ledger(descriptor)
    for _ in range(500):
        if ledger.take(server, 7):
            ledger.give_back(server, 7)


def test_concurrent_processes_lose_no_bytes_of_a_shared_ledger(ledger: Ledger) -> None:
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_take_and_give, args=(ledger.descriptor, server)) for server in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert ledger.state().used_bytes == 0


@given(st.lists(st.integers(1, 600), max_size=30))
def test_the_bytes_in_use_never_exceed_the_cap(sizes: list[int]) -> None:
    ledger = Ledger.create(1000)
    held = [size for size in sizes if ledger.take(0, size)]
    card = ledger.state()
    assert card.used_bytes == sum(held) <= card.cap_bytes
    assert card.n_refused == len(sizes) - len(held)
    ledger.close()
