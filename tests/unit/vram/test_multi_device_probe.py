"""Two emulated cards' ledgers, watched as one."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("the emulated card needs POSIX record locks", allow_module_level=True)

from contextlib import closing

from layertune.devices.emulated.ledger import Ledger
from layertune.vram.ledger_probe import LedgerProbe
from layertune.vram.polling_probe import PollingProbe
from layertune.vram.probe import MultiDeviceProbe
from layertune.vram.readings import Reading


def nothing_to_settle() -> None:
    """A ledger by itself is exact at once."""


def test_values_are_sums_and_each_device_keeps_its_own() -> None:
    with closing(Ledger.create(1000)) as first, closing(Ledger.create(500)) as second:
        second.take(0, 7)
        probe = MultiDeviceProbe([LedgerProbe(each, nothing_to_settle) for each in (first, second)])
        probe.start()
        first.take(0, 300)
        probe.mark("load")
        first.give_back(0, 300)
        second.take(0, 100)
        assert probe.read() == 100
        report = probe.stop()
    assert (report.peak_bytes, report.baseline_bytes, report.phases) == (400, 7, {"load": 300})
    assert [(each.peak_bytes, each.baseline_bytes) for each in report.each] == [(300, 0), (100, 7)]
    assert (report.scope, report.source) == ("card", "ledger")


def test_the_scope_is_that_of_the_least_exact_device_and_notes_name_their_device() -> None:
    shared = PollingProbe(lambda: Reading(50, own_bytes=20), "nvml")
    whole = PollingProbe(lambda: Reading(50, own_bytes=None), "ggml", notes=["NVML does not answer"])
    probe = MultiDeviceProbe([shared, whole])
    probe.start()
    report = probe.stop()
    assert (report.scope, report.source, report.foreign_bytes) == ("device", "ggml", None)
    assert report.notes == ("device 1: NVML does not answer",)
    assert report.peak_bytes == 20 + 0
    assert report.sampling is not None
