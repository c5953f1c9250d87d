"""A probe that asks again and again: for drivers that tell only what is in use now."""

import threading
from collections.abc import Callable, Sequence
from time import perf_counter

from layertune.errors import DeviceError
from layertune.vram.readings import Reading, Readings
from layertune.vram.ticker import Ticker
from layertune.vram.vram_report import Source, VramReport

# Buffers live for seconds, a compute buffer's growth for the length of a batch; what a reading costs is measured and
# in the report, and 50 a second of a tenth of a millisecond each are half a percent of one core.
INTERVAL_S = 0.02


class PollingProbe:
    """Polls `read` from a thread of its own, and once more at every start and mark.

    Whether the driver tells this process's share shows only once the process holds memory, so both are kept and the
    scope is decided at the end: `process` where the share was ever told, else `device` minus the baseline.
    """

    def __init__(
        self,
        read: Callable[[], Reading],
        source: Source,
        *,
        notes: Sequence[str] = (),
        baseline: Reading | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`read` raises DeviceError where a reading fails; `notes` are those of the probe's opening; without a
        `baseline` the first `start` takes it."""
        self._read = read
        self._source: Source = source
        self._notes = tuple(notes)
        self._interval_s = interval_s
        self._ticker = Ticker(self._take, interval_s, "vram-probe")
        self._lock = threading.Lock()
        self._baseline = baseline
        self._begun = False
        self._share_told = False
        self._readings = Readings(interval_s, perf_counter())

    def start(self) -> None:
        self._ticker.stop()
        self._readings = Readings(self._interval_s, perf_counter())
        taken = self._take()
        if not self._begun:
            if isinstance(taken, DeviceError):
                raise taken
            self._baseline = self._baseline or taken
            self._begun = True
        self._ticker.start()

    def mark(self, phase: str) -> None:
        taken = self._take()
        if isinstance(taken, Reading):
            self._readings.phases[phase] = taken

    def read(self) -> int:
        taken = self._take()
        if isinstance(taken, DeviceError):
            raise taken
        return self._used_bytes(taken)

    def stop(self) -> VramReport:
        self._ticker.stop()
        readings, baseline = self._readings, self._first()
        readings.finish(perf_counter())
        own_bytes, foreign_bytes = readings.peak_own_bytes, readings.peak_foreign_bytes
        told = own_bytes is not None
        return VramReport(
            peak_bytes=readings.peak_device_bytes - baseline.device_bytes if own_bytes is None else own_bytes,
            baseline_bytes=baseline.foreign_bytes if told else baseline.device_bytes,
            scope="process" if told else "device",
            source=self._source,
            phases={phase: self._used_bytes(reading) for phase, reading in readings.phases.items()},
            foreign_bytes=None if foreign_bytes is None else max(0, foreign_bytes - baseline.foreign_bytes),
            sampling=readings.sampling(),
            notes=(*self._notes, *readings.notes(baseline=baseline, device_scope=not told)),
        )

    def _used_bytes(self, reading: Reading) -> int:
        """A reading from before this process was first listed had no share of its own: it held nothing then."""
        if self._share_told:
            return reading.own_bytes or 0
        return reading.device_bytes - self._first().device_bytes

    def _first(self) -> Reading:
        if self._baseline is None:
            raise DeviceError("there is no baseline", remedy="start the probe first")
        return self._baseline

    def _take(self) -> Reading | DeviceError:
        with self._lock:
            started_s = perf_counter()
            try:
                reading = self._read()
            except DeviceError as error:
                self._readings.fail(error.what)
                return error
            ended_s = perf_counter()
            if reading.own_bytes is None and self._share_told:
                self._readings.fail(reading.why_no_share or "this process's share is not told any more")
                return DeviceError("the driver does not tell this process's share of the memory any more")
            self._share_told = self._share_told or reading.own_bytes is not None
            self._readings.add(reading, ended_s, ended_s - started_s)
            return reading
