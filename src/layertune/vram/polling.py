"""A probe that asks again and again: for drivers that tell only what is in use now."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from layertune.vram.report import Source, VramReport

# A reading through NVML or ggml costs tens of microseconds; at 50 Hz that is well under 1 % of one core, and buffers
# live for seconds.
_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes in use on the whole device, and by this process where the driver tells."""

    device_bytes: int
    own_bytes: int | None


class PollingProbe:
    """Polls `read` from its own thread, and once more at every mark.

    Whether the driver tells this process's share shows only once the process holds memory, so both are kept and the
    scope is decided at the end: `process` where the share was ever told, else `device` minus the baseline.
    """

    def __init__(self, read: Callable[[], Reading], source: Source) -> None:
        self._read = read
        self._source: Source = source
        self._baseline_bytes = 0
        self._peak_device_bytes = 0
        self._peak_own_bytes: int | None = None
        self._phases: dict[str, Reading] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="vram-probe", daemon=True)

    def start(self) -> None:
        self._baseline_bytes = self._peak_device_bytes = self._read().device_bytes
        self._thread.start()

    def mark(self, phase: str) -> None:
        self._phases[phase] = self._take()

    def stop(self) -> VramReport:
        self._stop.set()
        self._thread.join()
        own = self._peak_own_bytes is not None
        return VramReport(
            peak_bytes=self._peak_device_bytes - self._baseline_bytes
            if self._peak_own_bytes is None
            else self._peak_own_bytes,
            baseline_bytes=self._baseline_bytes,
            scope="process" if own else "device",
            source=self._source,
            phases={
                phase: (reading.own_bytes or 0) if own else reading.device_bytes - self._baseline_bytes
                for phase, reading in self._phases.items()
            },
        )

    def _poll(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._take()

    def _take(self) -> Reading:
        reading = self._read()
        with self._lock:
            self._peak_device_bytes = max(self._peak_device_bytes, reading.device_bytes)
            if reading.own_bytes is not None:
                self._peak_own_bytes = max(self._peak_own_bytes or 0, reading.own_bytes)
        return reading
