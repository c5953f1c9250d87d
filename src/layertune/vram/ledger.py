"""The emulated card's own accounting: exact, and the peak cannot be missed."""

from collections.abc import Callable

from layertune.devices.emulated.ledger import Ledger
from layertune.vram.report import VramReport


class LedgerProbe:
    """`settle` waits until the card's servers have done what they were told: a free has no reply over RPC."""

    def __init__(self, ledger: Ledger, settle: Callable[[], None]) -> None:
        self._ledger = ledger
        self._settle = settle
        self._baseline_bytes = 0
        self._phases: dict[str, int] = {}

    def start(self) -> None:
        self._settle()
        self._baseline_bytes = self._ledger.state().used_bytes

    def mark(self, phase: str) -> None:
        self._settle()
        self._phases[phase] = self._ledger.state().used_bytes - self._baseline_bytes

    def stop(self) -> VramReport:
        return VramReport(
            peak_bytes=self._ledger.state().peak_bytes - self._baseline_bytes,
            baseline_bytes=self._baseline_bytes,
            scope="card",
            source="ledger",
            phases=dict(self._phases),
        )
