"""A probe that polls: for drivers that report only what is in use now."""

import threading
from collections.abc import Callable, Sequence
from time import perf_counter

from layertune.errors import DeviceError
from layertune.vram.readings import Reading, Readings
from layertune.vram.ticker import Ticker
from layertune.vram.vram_report import Source, VramReport

# Buffers exist for seconds, and a compute buffer grows for the length of a batch. Fifty readings of 0.1 ms per second
# cost 0.5 % of one core. The real cost is measured and is part of the report.
INTERVAL_S = 0.02


class PollingProbe:
    """Polls the memory in use in a thread, and also reads it at every start and mark.

    The driver can report this process's share only after the process holds memory. So both values are kept, and the
    scope is chosen at the end: `process` if the share was ever reported, otherwise `device` minus the baseline.
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
        """Create the probe.

        Args:
            read: Reads the memory in use; raises DeviceError if that fails.
            source: The source of the readings, for the report.
            notes: Sentences for the report, from opening the source.
            baseline: A reading from before this process used the device; by default the first `start` takes it.
            interval_s: Seconds between readings.
        """
        self._read = read
        self._source: Source = source
        self._notes = tuple(notes)
        self._interval_s = interval_s
        self._ticker = Ticker(self._take, interval_s, "vram-probe")
        self._lock = threading.Lock()
        self._baseline = baseline
        self._begun = False
        self._share_reported = False
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
        has_share = own_bytes is not None
        return VramReport(
            peak_bytes=readings.peak_device_bytes - baseline.device_bytes if own_bytes is None else own_bytes,
            baseline_bytes=baseline.foreign_bytes if has_share else baseline.device_bytes,
            scope="process" if has_share else "device",
            source=self._source,
            phases={phase: self._used_bytes(reading) for phase, reading in readings.phases.items()},
            foreign_bytes=None if foreign_bytes is None else max(0, foreign_bytes - baseline.foreign_bytes),
            sampling=readings.sampling(),
            notes=(*self._notes, *readings.notes(baseline=baseline, device_scope=not has_share)),
        )

    def _used_bytes(self, reading: Reading) -> int:
        """Return this process's bytes in a reading. They are 0 until the driver first lists it."""
        if self._share_reported:
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
            if reading.own_bytes is None and self._share_reported:
                self._readings.fail(reading.why_no_share or "this process's share is no longer reported")
                return DeviceError("the driver no longer reports this process's share of the memory")
            self._share_reported = self._share_reported or reading.own_bytes is not None
            self._readings.add(reading, ended_s, ended_s - started_s)
            return reading
