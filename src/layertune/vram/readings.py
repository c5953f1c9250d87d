"""The memory readings of one trial, and their peaks, gaps and notes."""

from dataclasses import dataclass
from statistics import median

from layertune.errors import DeviceError
from layertune.units import format_bytes
from layertune.vram.vram_report import Sampling

# A gap is more than this many intervals between two readings; less is scheduler jitter.
_GAP = 1.5


@dataclass(frozen=True, slots=True)
class Reading:
    """Memory in use at one moment.

    Attributes:
        device_bytes: In use on the whole device.
        own_bytes: In use by this process, None if the driver does not report it. It is 0 if the driver has reported
            this process before and does not list it any more.
        why_no_share: The reason why `own_bytes` is None.
    """

    device_bytes: int
    own_bytes: int | None
    why_no_share: str | None = None

    @property
    def foreign_bytes(self) -> int:
        """In use by other programs."""
        return self.device_bytes - (self.own_bytes or 0)


class Readings:
    """Accumulates readings. A failed reading is counted as failed and affects no other value."""

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
        """Add a reading that ended at `at_s` (`perf_counter`) and took `cost_s` seconds."""
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
        """Count a reading that failed."""
        self._n_failed += 1
        self._failure = why

    def finish(self, at_s: float) -> None:
        """Count the readings missing between the last one and the end of the trial.

        Raises:
            DeviceError: no reading worked.
        """
        if not self._costs_s:
            raise DeviceError(f"the memory of the device could not be read once in the trial: {self._failure}")
        self._count_gap(at_s)

    def sampling(self) -> Sampling:
        """Return the number of readings, their gaps and their cost."""
        return Sampling(self._interval_s, len(self._costs_s), self._n_missed, median(self._costs_s))

    def notes(self, *, baseline: Reading, device_scope: bool) -> list[str]:
        """Return a sentence for each thing that makes the report less exact.

        Args:
            baseline: The reading from before the first model.
            device_scope: Whether the report is of the whole device, since this process's share is not reported.
        """
        notes = []
        if self._n_failed:
            n_readings = self._n_failed + len(self._costs_s)
            notes.append(
                f"{self._n_failed} of {n_readings} readings failed ({self._failure}): the other readings are used"
            )
        if not device_scope:
            return notes
        if self.why_no_share is not None and self.peak_device_bytes > baseline.device_bytes:
            notes.append(f"{self.why_no_share}: the whole device's memory above the baseline is used instead")
        freed_bytes = baseline.device_bytes - self._least_device_bytes
        if freed_bytes > 0:
            notes.append(
                f"another program freed {format_bytes(freed_bytes)} or more after the baseline was taken: "
                "the reported memory may be too low by that"
            )
        return notes

    def _add_foreign(self, foreign_bytes: int) -> None:
        """Update the peak of other programs' bytes, using the smaller of two consecutive readings.

        The driver reports the device first and then this process. If this process frees memory in between, one reading
        counts that memory as another program's. The first reading counts by itself, since nothing is freed at the
        start.
        """
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
