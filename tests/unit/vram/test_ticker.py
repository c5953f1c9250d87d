import threading
import time
from itertools import pairwise
from time import perf_counter

from layertune.vram.ticker import Ticker


def test_the_schedule_does_not_drift_with_the_duration_of_calls() -> None:
    called_s: list[float] = []
    enough = threading.Event()

    def tick() -> None:
        called_s.append(perf_counter())
        if len(called_s) == 20:
            enough.set()
        time.sleep(0.01)

    ticker = Ticker(tick, 0.03, "test")
    started_s = perf_counter()
    ticker.start()
    assert enough.wait(timeout=30)
    ticker.stop()
    slots = [(at_s - started_s) / 0.03 for at_s in called_s]
    # On a schedule that drifted each call would come a third of an interval later against it than the one before.
    late = sorted(slot % 1 for slot in slots)
    assert late[len(late) // 2] < 0.3


def test_calls_that_a_long_call_overran_are_skipped() -> None:
    called_s: list[float] = []

    def tick() -> None:
        called_s.append(perf_counter())
        time.sleep(0.25 if len(called_s) == 1 else 0)

    ticker = Ticker(tick, 0.05, "test")
    started_s = perf_counter()
    ticker.start()
    time.sleep(0.5)
    ticker.stop()
    n_slots = (perf_counter() - started_s) / 0.05
    gaps_s = [later - earlier for earlier, later in pairwise(called_s)]
    assert gaps_s[0] >= 0.25
    assert len(called_s) <= n_slots - 4  # which the long call took


def test_a_ticker_can_be_restarted_and_calls_only_while_started() -> None:
    calls = threading.Semaphore(0)
    ticker = Ticker(calls.release, 0.01, "test")
    ticker.stop()
    for _ in range(3):
        ticker.start()
        assert calls.acquire(timeout=30)
        ticker.stop()
        while calls.acquire(blocking=False):
            pass
        time.sleep(0.03)
        assert not calls.acquire(blocking=False)


def test_a_second_start_ends_the_first_thread() -> None:
    ticker = Ticker(lambda: None, 0.01, "test-ticker")
    ticker.start()
    ticker.start()
    assert [thread.name for thread in threading.enumerate()].count("test-ticker") == 1
    ticker.stop()
