"""The device's memory over a verification, in bytes above what was in use before the first server."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from layertune.units import MIB
from layertune.vram.probe import VramProbe
from layertune.vram.vram_report import VramReport

# What a movement must exceed to be noticed. The card's ledger is exact, and less than this is no leak; on a GPU all
# that the display does in half an hour is in the figure: an estimate.
_NOTICED_BYTES = {"card": 2 * MIB, "process": 64 * MIB, "device": 64 * MIB}


@dataclass(frozen=True, slots=True)
class MemoryReading:
    at_s: float
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Drift:
    """How the memory moved over a phase: the median of its last quarter of readings above that of its first.

    `noticed` is whether it grew by more than anyone would overlook: memory that fell is no leak. `changes` are the
    readings that differ from the one before, and the last one.
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
    """`before` is what others held at the start, the baseline of everything after it."""

    def __init__(self, probe: VramProbe) -> None:
        """Raises DeviceError where the device does not answer."""
        self._probe = probe
        probe.start()
        self.before = probe.stop()
        probe.start()

    def read(self) -> int:
        """Return the bytes in use now. Raises DeviceError."""
        return self._probe.read()

    def lap(self) -> VramReport:
        """Return what was seen since the last lap, and begin another. Raises DeviceError."""
        try:
            return self._probe.stop()
        finally:
            self._probe.start()

    def is_back(self) -> bool:
        """Say whether what is in use now is nothing that anyone would notice."""
        return self.read() <= _NOTICED_BYTES[self.before.scope]
