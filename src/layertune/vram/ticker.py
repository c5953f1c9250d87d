"""A thread that samples on a fixed schedule."""

import threading
from collections.abc import Callable
from time import perf_counter


class Ticker:
    """Calls `tick` every `interval_s` seconds in a thread. It can be started again after `stop`.

    The schedule does not drift: after a late call the next one is on time. Calls that fall due during a long call are
    skipped.
    """

    def __init__(self, tick: Callable[[], object], interval_s: float, name: str) -> None:
        self._tick = tick
        self._interval_s = interval_s
        self._name = name
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start calling; stop an earlier thread first."""
        self.stop()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._over,), name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop calling, and wait for a call in progress; do nothing without a `start` before."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, over: threading.Event) -> None:
        due_s = perf_counter() + self._interval_s
        while not over.wait(max(0.0, due_s - perf_counter())):
            self._tick()
            n_overrun = max(0, int((perf_counter() - due_s) / self._interval_s))
            due_s += self._interval_s * (1 + n_overrun)
