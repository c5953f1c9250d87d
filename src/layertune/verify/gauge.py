"""Memory of the device during a verification, in bytes above what was in use before the first server."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from layertune.units import MIB
from layertune.vram.probe import VramProbe
from layertune.vram.vram_report import VramReport

# The smallest growth that is noticed. The emulated card's ledger is exact, and growth below its value is not a leak. On
# a GPU, the display's memory can change within half an hour too, so the values there are estimates.
_NOTICED_BYTES = {"card": 2 * MIB, "process": 64 * MIB, "device": 64 * MIB}


@dataclass(frozen=True, slots=True)
class MemoryReading:
    at_s: float
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Drift:
    """Change of memory over a phase: the median of the last quarter of its readings minus that of the first.

    `noticed` is true if memory grew by more than the noise of the source. `changes` are the readings that differ from
    the previous one, and the last reading.
    """

    moved_bytes: int
    noticed: bool
    n_readings: int
    changes: tuple[MemoryReading, ...]

    @classmethod
    def of(cls, readings: Sequence[MemoryReading], scope: str) -> "Drift":
        """Raises ValueError without readings."""
        n_quarter = max(1, len(readings) // 4)
        begin, end = (median(each.n_bytes for each in part) for part in (readings[:n_quarter], readings[-n_quarter:]))
        moved_bytes = round(end - begin)
        changes = [readings[0]]
        changes += [now for before, now in pairwise(readings) if now.n_bytes != before.n_bytes]
        if changes[-1] is not readings[-1]:
            changes.append(readings[-1])
        return cls(moved_bytes, moved_bytes > _NOTICED_BYTES[scope], len(readings), tuple(changes))


class Gauge:
    """Reads the device's memory. `before` is what other programs held at the start: the baseline of all readings."""

    def __init__(self, probe: VramProbe) -> None:
        """Raises DeviceError if the device does not answer."""
        self._probe = probe
        probe.start()
        self.before = probe.stop()
        probe.start()

    def read(self) -> int:
        """Return the bytes in use now. Raises DeviceError."""
        return self._probe.read()

    def lap(self) -> VramReport:
        """Return the memory report since the last lap, and begin a new lap. Raises DeviceError."""
        try:
            return self._probe.stop()
        finally:
            self._probe.start()

    def is_back(self) -> bool:
        """Return whether memory is back at the baseline, within the noise of the source."""
        return self.read() <= _NOTICED_BYTES[self.before.scope]
