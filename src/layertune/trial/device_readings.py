"""What the readings of a local GPU say about a trial: that it spilled, or nothing at all."""

from collections.abc import Sequence
from dataclasses import replace

from layertune.units import format_bytes
from layertune.vram.vram_report import VramReport


def spill(allocated_bytes: int, free_before_bytes: int, free_now_bytes: int) -> tuple[int, str] | None:
    """Return by how much a trial exceeds a GPU's memory and the evidence, None if it does not.

    Drivers on WSL2 and Windows, and Vulkan's, silently move what does not fit into the machine's RAM.

    Args:
        allocated_bytes: llama.cpp's buffers on the GPU.
        free_before_bytes: What was free before they were allocated.
        free_now_bytes: What is free now; negative if more is in use than the GPU has.
    """
    if (excess_bytes := -free_now_bytes) > 0:
        return excess_bytes, f"the driver reports {format_bytes(excess_bytes)} more in use than the device has"
    if (excess_bytes := allocated_bytes - free_before_bytes) > 0:
        evidence = f"the buffers exceed the {free_before_bytes} bytes that the driver reported free before the load"
        return excess_bytes, evidence
    return None


def without_silent(report: VramReport, allocated_bytes: Sequence[int]) -> VramReport:
    """Return the report with llama.cpp's buffers for each device whose reading did not follow them.

    Some backends always report the whole device as free, so that every trial would seem to take nothing.

    Args:
        report: The probe's report.
        allocated_bytes: llama.cpp's buffers on each device.
    """
    if report.devices is None:
        return _spoken(report, allocated_bytes[0]) if allocated_bytes else report
    devices = tuple(_spoken(each, n_bytes) for each, n_bytes in zip(report.devices, allocated_bytes, strict=True))
    if devices == report.devices:
        return report
    notes = tuple(f"device {index}: {note}" for index, each in enumerate(devices) for note in each.notes)
    peak_bytes = sum(each.peak_bytes for each in devices)
    return replace(report, peak_bytes=peak_bytes, phases={}, notes=notes, devices=devices)


def _spoken(report: VramReport, allocated_bytes: int) -> VramReport:
    if report.scope != "device" or 2 * report.peak_bytes >= allocated_bytes:
        return report
    note = (
        f"the memory that the driver reports rose by {format_bytes(report.peak_bytes)} while llama.cpp allocated "
        f"{format_bytes(allocated_bytes)}, so it says nothing: llama.cpp's own sizes are used instead"
    )
    return replace(report, peak_bytes=allocated_bytes, phases={}, source="llama.cpp", notes=(*report.notes, note))
