"""Every probe keeps the promises of the seam, over a device whose use the test decides."""

import sys
from collections.abc import Iterator
from typing import Protocol

import pytest
from pydantic import TypeAdapter

from layertune.errors import DeviceError
from layertune.vram.polling_probe import PollingProbe
from layertune.vram.probe import VramProbe
from layertune.vram.readings import Reading
from layertune.vram.vram_report import VramReport


class Device(Protocol):
    """A device with 100 bytes in use by others, and a probe on it."""

    probe: VramProbe

    def use(self, size_bytes: int) -> None: ...

    def others_use(self, size_bytes: int) -> None: ...


class PolledDevice:
    """Tells its use when asked, and this process's share of it or not."""

    def __init__(self, *, reports_share: bool) -> None:
        self._used_bytes = 0
        self._others_bytes = 100
        self._listed = False
        self._reports_share = reports_share
        self.probe: VramProbe = PollingProbe(self._read, "nvml")

    def use(self, size_bytes: int) -> None:
        self._used_bytes = size_bytes

    def others_use(self, size_bytes: int) -> None:
        self._others_bytes = size_bytes

    def _read(self) -> Reading:
        used_bytes = self._used_bytes
        self._listed = self._listed or used_bytes > 0
        return Reading(self._others_bytes + used_bytes, used_bytes if self._reports_share and self._listed else None)


class CardDevice:
    """The emulated card's ledger."""

    def __init__(self) -> None:
        from layertune.devices.emulated.ledger import Ledger
        from layertune.vram.ledger_probe import LedgerProbe

        self.ledger = Ledger.create(10_000)
        self.ledger.count_query(0)  # as the card asks each of its own servers
        self.ledger.take(1, 100)
        self._used_bytes = 0
        self._others_bytes = 100
        self.probe: VramProbe = LedgerProbe(self.ledger, settle=lambda: None)

    def use(self, size_bytes: int) -> None:
        self.ledger.give_back(0, self._used_bytes)
        self.ledger.take(0, size_bytes)
        self._used_bytes = size_bytes

    def others_use(self, size_bytes: int) -> None:
        self.ledger.give_back(1, self._others_bytes)
        self.ledger.take(1, size_bytes)
        self._others_bytes = size_bytes


@pytest.fixture(params=["ledger", "device", "process"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if request.param != "ledger":
        yield PolledDevice(reports_share=request.param == "process")
        return
    if sys.platform == "win32":
        pytest.skip("the emulated card needs POSIX record locks")
    card = CardDevice()
    yield card
    card.ledger.close()


def test_the_peak_and_the_phases_are_reported_above_the_baseline(device: Device) -> None:
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


def test_an_idle_device_reports_zero_bytes(device: Device) -> None:
    device.probe.start()
    device.probe.mark("idle")
    report = device.probe.stop()
    assert (report.peak_bytes, report.phases) == (0, {"idle": 0})


def test_a_later_trial_keeps_only_the_baseline(device: Device) -> None:
    device.probe.start()
    device.use(900)
    device.probe.mark("load")
    device.use(400)  # weights that stay
    device.probe.stop()
    for _ in range(3):
        device.probe.start()
        device.probe.mark("idle")
        device.use(600)
        device.probe.mark("load")
        device.use(400)
        report = device.probe.stop()
        assert (report.baseline_bytes, report.peak_bytes) == (100, 600)
        assert report.phases == {"idle": 400, "load": 600}


def test_a_trial_that_was_never_stopped_does_not_affect_the_next(device: Device) -> None:
    device.probe.start()
    device.use(900)
    device.probe.mark("load")
    device.use(0)
    device.probe.start()
    device.use(300)
    device.probe.mark("load")
    report = device.probe.stop()
    assert (report.baseline_bytes, report.peak_bytes, report.phases) == (100, 300, {"load": 300})


def test_the_bytes_in_use_can_be_read_during_and_between_trials(device: Device) -> None:
    device.probe.start()
    assert device.probe.read() == 0
    device.use(700)
    assert device.probe.read() == 700
    device.probe.stop()
    device.use(200)
    assert device.probe.read() == 200


def test_reading_or_stopping_without_a_baseline_is_an_error(device: Device) -> None:
    with pytest.raises(DeviceError, match="start the probe first"):
        device.probe.read()
    with pytest.raises(DeviceError, match="start the probe first"):
        device.probe.stop()


def test_other_programs_memory_is_reported_separately_or_not_at_all(device: Device) -> None:
    device.probe.start()
    device.use(700)
    device.probe.mark("load")
    device.others_use(350)
    device.probe.mark("together")
    device.probe.mark("together again")
    device.others_use(100)
    device.use(0)
    report = device.probe.stop()
    assert report.foreign_bytes == (None if report.scope == "device" else 250)


def test_other_programs_that_take_nothing_count_as_zero_in_the_next_trial(device: Device) -> None:
    device.use(1)  # the driver lists this process
    device.probe.start()
    device.others_use(500)
    device.probe.mark("load")
    device.probe.mark("together")
    device.others_use(50)
    device.probe.stop()
    device.probe.start()
    device.probe.mark("load")
    report = device.probe.stop()
    assert report.foreign_bytes == (None if report.scope == "device" else 0)


def test_only_a_probe_that_samples_reports_its_sampling(device: Device) -> None:
    device.probe.start()
    device.probe.mark("load")
    report = device.probe.stop()
    assert (report.sampling is None) == (report.source == "ledger")
    if report.sampling is not None:
        assert report.sampling.n_samples >= 2
        assert report.sampling.interval_s > report.sampling.cost_s > 0


def test_a_report_is_equal_after_a_round_trip_through_json(device: Device) -> None:
    device.probe.start()
    device.use(700)
    device.probe.mark("load")
    report = device.probe.stop()
    pipe = TypeAdapter(VramReport)
    assert pipe.validate_json(pipe.dump_json(report)) == report
