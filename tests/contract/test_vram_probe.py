"""Every probe keeps the promises of the seam, over a device whose use the test decides."""

import sys
from collections.abc import Iterator
from typing import Protocol

import pytest

from layertune.vram.polling import PollingProbe, Reading
from layertune.vram.probe import VramProbe


class Device(Protocol):
    """A device with 100 bytes in use by others, and a probe on it."""

    probe: VramProbe

    def use(self, size_bytes: int) -> None: ...


class PolledDevice:
    """Tells its use when asked, and this process's share of it or not."""

    def __init__(self, *, tells_share: bool) -> None:
        self._used_bytes = 0
        self._tells_share = tells_share
        self.probe: VramProbe = PollingProbe(self._read, "nvml")

    def use(self, size_bytes: int) -> None:
        self._used_bytes = size_bytes

    def _read(self) -> Reading:
        share = self._used_bytes if self._tells_share and self._used_bytes else None
        return Reading(100 + self._used_bytes, share)


class CardDevice:
    """The emulated card's ledger."""

    def __init__(self) -> None:
        from layertune.devices.emulated.ledger import Ledger
        from layertune.vram.ledger import LedgerProbe

        self.ledger = Ledger.create(10_000)
        self.ledger.take(1, 100)
        self._used_bytes = 0
        self.probe: VramProbe = LedgerProbe(self.ledger, settle=lambda: None)

    def use(self, size_bytes: int) -> None:
        self.ledger.give_back(0, self._used_bytes)
        self.ledger.take(0, size_bytes)
        self._used_bytes = size_bytes


@pytest.fixture(params=["ledger", "device", "process"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if request.param != "ledger":
        yield PolledDevice(tells_share=request.param == "process")
        return
    if sys.platform == "win32":
        pytest.skip("the emulated card needs POSIX record locks")
    card = CardDevice()
    yield card
    card.ledger.close()


def test_a_probe_tells_the_peak_and_the_phases_above_what_was_there_before(device: Device) -> None:
    device.probe.start()
    device.use(700)
    device.probe.mark("load")
    device.use(900)
    device.probe.mark("together")
    device.use(0)
    report = device.probe.stop()
    assert (report.baseline_bytes, report.peak_bytes) == (100, 900)
    assert report.phases == {"load": 700, "together": 900}
    assert (report.scope, report.source) in {("card", "ledger"), ("device", "nvml"), ("process", "nvml")}


def test_a_probe_over_an_idle_device_tells_nothing_in_use(device: Device) -> None:
    device.probe.start()
    device.probe.mark("idle")
    report = device.probe.stop()
    assert (report.peak_bytes, report.phases) == (0, {"idle": 0})
