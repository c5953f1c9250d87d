"""What one case may take, and how that is measured and enforced in the process that runs it."""

import contextlib
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

CASE_S = 2.0  # of processor time, so that a busy machine fails no case
CASE_BYTES = 300 * 10**6
_HANG_S = 120.0  # a case that waits for something, or does not leave compiled code, takes its process with it

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


class TooSlow(BaseException):
    """Not an Exception: what is run may catch those."""


class Meter:
    """Seconds and bytes of the case that was run last."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.grown_bytes = 0

    @contextlib.contextmanager
    def case(self) -> Iterator[None]:
        """Run one case: TooSlow past `CASE_S`, MemoryError past `CASE_BYTES` where the system enforces it."""
        _CLEAR_REFS.write_text("5", encoding="ascii")  # the peak begins again at what is resident now: proc(5)
        resident_before, _ = _status_bytes("VmRSS"), self._allow(_status_bytes("VmSize") + CASE_BYTES)
        began = time.process_time()
        signal.setitimer(signal.ITIMER_REAL, _HANG_S)
        signal.setitimer(signal.ITIMER_PROF, CASE_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.seconds = time.process_time() - began
            self._allow(resource.RLIM_INFINITY)
            self.grown_bytes = _status_bytes("VmHWM") - resident_before

    @staticmethod
    def _allow(address_space_bytes: int) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, hard))


def enforce() -> None:
    """Let the alarm of `Meter.case` raise."""

    def raise_too_slow(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, raise_too_slow)


def _status_bytes(name: str) -> int:
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)
