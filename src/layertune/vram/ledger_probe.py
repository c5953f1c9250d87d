"""A probe that reads the emulated card's ledger, which is exact and never misses the peak."""

from collections.abc import Callable

from layertune.devices.emulated.ledger import Ledger
from layertune.errors import DeviceError
from layertune.vram.vram_report import VramReport


class LedgerProbe:
    """Reports the ledger's bytes above those at the first `start`."""

    def __init__(self, ledger: Ledger, settle: Callable[[], None]) -> None:
        """Create the probe.

        Args:
            ledger: The card's ledger.
            settle: Waits until the card's servers have completed all requests. A free has no reply over RPC, so the
                ledger may still count freed buffers.
        """
        self._ledger = ledger
        self._settle = settle
        self._baseline_bytes: int | None = None
        self._foreign_baseline_bytes = 0
        self._phases: dict[str, int] = {}

    def start(self) -> None:
        self._settle()
        if self._baseline_bytes is None:
            self._baseline_bytes = self._ledger.state().used_bytes
            self._foreign_baseline_bytes = self._ledger.foreign_bytes()
        self._ledger.reset_peak()
        self._phases = {}

    def mark(self, phase: str) -> None:
        self._phases[phase] = self.read()

    def read(self) -> int:
        self._settle()
        return self._ledger.state().used_bytes - self._first_bytes()

    def stop(self) -> VramReport:
        return VramReport(
            peak_bytes=self._ledger.state().peak_bytes - self._first_bytes(),
            baseline_bytes=self._first_bytes(),
            scope="card",
            source="ledger",
            phases=dict(self._phases),
            foreign_bytes=max(0, self._ledger.foreign_peak_bytes() - self._foreign_baseline_bytes),
        )

    def _first_bytes(self) -> int:
        if self._baseline_bytes is None:
            raise DeviceError("there is no baseline", remedy="start the probe first")
        return self._baseline_bytes
