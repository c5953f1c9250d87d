"""NVIDIA's own figures, through the maintained distribution of `pynvml` (nvidia-ml-py)."""

import os
from collections.abc import Callable
from typing import Any

import pynvml

from layertune.errors import DeviceError
from layertune.vram.polling import Reading


def open_reader(pci_bus_id: str) -> Callable[[], Reading]:
    """Return a function that reads the card on `pci_bus_id` (like "0000:01:00.0").

    Raises:
        DeviceError: the driver does not answer.
    """
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id.encode())
        pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        raise DeviceError(f"NVML does not answer for {pci_bus_id}: {error}", remedy="run nvidia-smi") from error
    return lambda: Reading(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used), _own_bytes(handle))


def driver_version() -> str | None:
    """Return the NVIDIA driver's version, None where there is no driver."""
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None


def _own_bytes(handle: Any) -> int | None:
    """Return this process's bytes, None where the driver does not tell.

    It does not on WSL2 and under Windows' WDDM (the figure is missing), nor in a container with its own process ids
    (this process is missing).
    """
    try:
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError_NotSupported:
        return None
    mine = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
    return sum(mine) if mine and None not in mine else None
