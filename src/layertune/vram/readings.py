"""The readings of one trial, and what they come to."""

from dataclasses import dataclass
from statistics import median

from layertune.errors import DeviceError
from layertune.units import format_bytes
from layertune.vram.vram_report import Sampling

# What comes later than this many intervals after the one before has left a gap; less is the scheduler's jitter.
_GAP = 1.5


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes in use on the whole device, and by this process where the driver tells; else why it does not.

    A driver that has told the share before and does not list this process any more tells 0.
    """

    device_bytes: int
    own_bytes: int | None
    why_no_share: str | None = None

    @property
    def foreign_bytes(self) -> int:
        return self.device_bytes - (self.own_bytes or 0)


class Readings:
    """Grows by one reading at a time. A reading that failed is counted as failed and is in no figure."""

    def __init__(self, interval_s: float, started_s: float) -> None:
        self.phases: dict[str, Reading] = {}
        self.peak_device_bytes = 0
        self.peak_own_bytes: int | None = None
        self.peak_foreign_bytes: int | None = None
        self.why_no_share: str | None = None
        self._least_device_bytes = 0
        self._foreign_before: int | None = None
        self._interval_s = interval_s
        self._last_s = started_s
        self._costs_s: list[float] = []
        self._n_missed = 0
        self._n_failed = 0
        self._failure = ""

    def add(self, reading: Reading, at_s: float, cost_s: float) -> None:
        """Count a reading that was there at `at_s` and took `cost_s`, in seconds."""
        first = not self._costs_s
        self._count_gap(at_s)
        self._costs_s.append(cost_s)
        self.peak_device_bytes = reading.device_bytes if first else max(self.peak_device_bytes, reading.device_bytes)
        self._least_device_bytes = min(
            self.peak_device_bytes if first else self._least_device_bytes, reading.device_bytes
        )
        self.why_no_share = reading.why_no_share
        if reading.own_bytes is not None:
            self.peak_own_bytes = max(self.peak_own_bytes or 0, reading.own_bytes)
            self._add_foreign(reading.foreign_bytes)

    def fail(self, why: str) -> None:
        self._n_failed += 1
        self._failure = why

    def finish(self, at_s: float) -> None:
        """Count what is missing between the last reading and the end of the trial.

        Raises:
            DeviceError: no reading worked.
        """
        if not self._costs_s:
            raise DeviceError(f"the memory of the device was not told once in the trial: {self._failure}")
        self._count_gap(at_s)

    def sampling(self) -> Sampling:
        return Sampling(self._interval_s, len(self._costs_s), self._n_missed, median(self._costs_s))

    def notes(self, *, baseline: Reading, device_scope: bool) -> list[str]:
        notes = []
        if self._n_failed:
            n_readings = self._n_failed + len(self._costs_s)
            notes.append(
                f"{self._n_failed} of {n_readings} readings failed ({self._failure}): the figures are the others'"
            )
        if not device_scope:
            return notes
        if self.why_no_share is not None and self.peak_device_bytes > baseline.device_bytes:
            notes.append(f"{self.why_no_share}: what the whole device holds above the baseline counts instead")
        given_back_bytes = baseline.device_bytes - self._least_device_bytes
        if given_back_bytes > 0:
            notes.append(
                f"another program gave back {format_bytes(given_back_bytes)} or more after the baseline was taken: "
                "the figures may be too low by that"
            )
        return notes

    def _add_foreign(self, foreign_bytes: int) -> None:
        """Count what two readings in a row have shown: the driver is asked for the device first and then for this
        process, and what this process freed in between looks like somebody else's for one reading. The first stands
        for itself: nothing is freed at a start."""
        before = foreign_bytes if self._foreign_before is None else self._foreign_before
        held_bytes = min(before, foreign_bytes)
        self.peak_foreign_bytes = max(
            held_bytes, held_bytes if self.peak_foreign_bytes is None else self.peak_foreign_bytes
        )
        self._foreign_before = foreign_bytes

    def _count_gap(self, at_s: float) -> None:
        n_intervals = (at_s - self._last_s) / self._interval_s
        if n_intervals > _GAP:
            self._n_missed += round(n_intervals) - 1
        self._last_s = at_s
