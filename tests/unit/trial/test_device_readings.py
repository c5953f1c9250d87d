"""Readings of GPUs that are not here: overfull Vulkan cards, WSL2, and backends that report nothing."""

import ctypes

import pytest

from layertune.devices.target import Target
from layertune.engine import ggml
from layertune.errors import DeviceError
from layertune.trial.device_readings import spill, without_silent
from layertune.units import GIB, MIB
from layertune.vram import probe_selection
from layertune.vram.polling_probe import PollingProbe
from layertune.vram.probe import MultiDeviceProbe
from layertune.vram.readings import Reading
from layertune.vram.vram_report import VramReport

SILENT = VramReport(0, 3 * GIB, "device", "ggml", {"load": 0})


def test_buffers_beyond_what_was_free_spilled() -> None:
    assert spill(5 * GIB, 4 * GIB, 0) == (
        GIB,
        f"the buffers exceed the {4 * GIB} bytes that the driver reported free before the load",
    )
    assert spill(4 * GIB, 4 * GIB, 0) is None


def test_more_in_use_than_the_device_has_spilled() -> None:
    assert spill(4 * GIB, 5 * GIB, -GIB) == (GIB, "the driver reports 1024.0 MiB more in use than the device has")


class OverfullVulkan:
    """ggml's library with a Vulkan card of 12 GiB of which 21.5 GiB are in use."""

    total_bytes, used_bytes = 12 * GIB, 21 * GIB + GIB // 2

    def ggml_backend_dev_memory(self, _device: int, free: object, total: object) -> None:
        # As ggml-vulkan.cpp computes it, in a size_t.
        ctypes.cast(free, ctypes.POINTER(ctypes.c_size_t))[0] = (self.total_bytes - self.used_bytes) % 2**64
        ctypes.cast(total, ctypes.POINTER(ctypes.c_size_t))[0] = self.total_bytes


def test_an_overfull_vulkan_card_reports_what_is_really_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "_base", OverfullVulkan)
    assert ggml.memory(0) == (12 * GIB - 21 * GIB - GIB // 2, 12 * GIB)
    read = probe_selection.ggml_reader(Target("gpu", "Radeon"), 0)
    probe = PollingProbe(read, "ggml", baseline=Reading(0, None))
    probe.start()
    assert probe.stop().peak_bytes == 21 * GIB + GIB // 2


@pytest.mark.parametrize(("free_bytes", "total_bytes"), [(0, 0), (13 * GIB, 12 * GIB)])
def test_a_reading_that_makes_no_sense_is_no_reading(
    free_bytes: int, total_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ggml, "memory", lambda _device: (free_bytes, total_bytes))
    with pytest.raises(DeviceError, match="does not report the memory of Arc"):
        probe_selection.ggml_reader(Target("gpu", "Arc"), 0)()


def test_a_reading_that_does_not_follow_the_buffers_is_replaced_by_them() -> None:
    found = without_silent(SILENT, [2 * GIB])
    assert (found.peak_bytes, found.source, found.phases) == (2 * GIB, "llama.cpp", {})
    assert found.notes == (
        "the memory that the driver reports rose by 0 B while llama.cpp allocated 2048.0 MiB, so it says nothing: "
        "llama.cpp's own sizes are used instead",
    )


@pytest.mark.parametrize(
    "report",
    [
        VramReport(2 * GIB + 300 * MIB, 0, "device", "ggml"),
        VramReport(0, 0, "process", "nvml"),
        VramReport(0, 0, "card", "ledger"),
    ],
)
def test_a_reading_that_follows_or_is_exact_stays(report: VramReport) -> None:
    assert without_silent(report, [2 * GIB if report.peak_bytes else 0]) is report


def test_a_trial_without_a_device_has_nothing_to_check() -> None:
    assert without_silent(SILENT, []) is SILENT


def test_one_silent_device_of_two_is_replaced() -> None:
    silent = PollingProbe(lambda: Reading(5, None), "ggml", baseline=Reading(5, None))
    spoken = PollingProbe(lambda: Reading(GIB, None), "ggml", baseline=Reading(0, None))
    probe = MultiDeviceProbe([silent, spoken])
    probe.start()
    found = without_silent(probe.stop(), [2 * GIB, GIB])
    assert [each.peak_bytes for each in found.each] == [2 * GIB, GIB]
    assert found.peak_bytes == 3 * GIB
    assert found.notes[0].startswith("device 0: the memory that the driver reports rose by 0 B")
