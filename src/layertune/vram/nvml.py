"""Reads the memory of NVIDIA GPUs through NVML, with the maintained distribution of `pynvml` (nvidia-ml-py)."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pynvml

from layertune.errors import DeviceError
from layertune.vram.readings import Reading

# Errors that are final for a driver: the query is not repeated.
REFUSALS = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NoPermission,
    pynvml.NVMLError_ArgumentVersionMismatch,
    pynvml.NVMLError_Deprecated,
)

# A process is in one list or in both, each time with all of its memory. CUDA contexts are in the first, Vulkan contexts
# in the second. Older drivers lack the _v3 functions, and pynvml has none older than _v2.
_LISTS = (
    (pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetComputeRunningProcesses_v2),
    (pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2),
)


class NvmlReader:
    """Reads one card's memory.

    When it is created, it finds out which queries the driver supports. `notes` has a sentence for each query that the
    driver does not support.
    """

    def __init__(self, card: Any) -> None:
        self.notes: tuple[str, ...] = ()
        self._card = card
        self._version = self._memory_version()
        self._lists, self._why_no_list = _process_lists(card)
        self._pid = os.getpid()
        self._listed = False

    def read(self) -> Reading:
        """Read the memory in use.

        Raises:
            DeviceError: the driver does not answer, for example because the GPU is lost.
        """
        try:
            used_bytes = int(self._memory().used)
            own_bytes, why_not = self._share()
        except pynvml.NVMLError as error:
            raise DeviceError(f"NVML does not answer: {error}", remedy="run nvidia-smi") from error
        return Reading(used_bytes, own_bytes, why_not)

    def free_bytes(self) -> int:
        """Return what is free of the card; the driver's reserved memory is not.

        Raises:
            DeviceError: the driver does not answer.
        """
        try:
            return int(self._memory().free)
        except pynvml.NVMLError as error:
            raise DeviceError(f"NVML does not answer: {error}", remedy="run nvidia-smi") from error

    def _memory(self) -> Any:
        # With a version as its second argument pynvml reads that struct, without one the first struct.
        return pynvml.nvmlDeviceGetMemoryInfo(self._card, self._version)

    def _memory_version(self) -> int | None:
        """Return the version of the memory struct to read, None for the oldest one.

        In both, `used` includes all programs and the display. They differ in the memory that driver and firmware
        reserve: nvmlMemory_v2_t reports it separately, nvmlMemory_t counts it as used ("Sum of Reserved and Allocated
        device memory", docs.nvidia.com/deploy/nvml-api, R590). On an A100 the difference is 904 MB
        (Cldfire/nvml-wrapper issue 57). According to the documentation of R525, v2 includes it as well. Above the
        baseline both are the same.
        """
        try:
            pynvml.nvmlDeviceGetMemoryInfo(self._card, pynvml.nvmlMemory_v2)
        except REFUSALS as error:
            pynvml.nvmlDeviceGetMemoryInfo(self._card)
            self.notes = (
                f"this driver's NVML does not report its reserved memory separately ({error}): "
                "the baseline includes it, and the bytes above the baseline are unaffected",
            )
            return None
        return int(pynvml.nvmlMemory_v2)

    def _share(self) -> tuple[int | None, str | None]:
        """Return this process's bytes, or None and the reason why they are not reported."""
        for running in self._lists:
            mine = [process.usedGpuMemory for process in running(self._card) if process.pid == self._pid]
            if None in mine:
                return (
                    None,
                    "NVML does not report this process's memory, as on WSL2 and with Windows' WDDM driver model",
                )
            if mine and sum(mine) == 0:
                # Seen with driver 560 (Project-HAMi/HAMi-core issue 112, NVIDIA/open-gpu-kernel-modules pull 614).
                return None, "NVML lists this process without its memory, as in a container with its own process ids"
            if mine:
                self._listed = True
                return sum(mine), None
        if not self._lists:
            return None, f"NVML does not list this card's processes ({self._why_no_list})"
        if self._listed:
            return 0, None
        return None, "NVML does not list this process, as in a container with its own process ids"


def open_reader(pci_bus_id: str) -> NvmlReader:
    """Open the card at `pci_bus_id` (like "0000:01:00.0").

    Raises:
        DeviceError: the driver does not answer, or MIG divides the card and the driver would report all of it.
    """
    with _opened(pci_bus_id) as card:
        if _is_divided(card):
            raise DeviceError(f"NVML reports the memory of all of {pci_bus_id}, which MIG divides")
        reader = NvmlReader(card)
        reader.read()
        return reader


def open_card(pci_bus_id: str) -> Any:
    """Return NVML's handle of a card.

    Raises:
        DeviceError: the driver does not answer.
    """
    with _opened(pci_bus_id) as card:
        return card


def driver_version() -> str | None:
    """Return the NVIDIA driver's version, None without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
    finally:
        _shut_down()


def card_index(pci_bus_id: str) -> int | None:
    """Return the number that nvidia-smi and container runtimes give the card at `pci_bus_id`, None if it has none."""
    try:
        with _opened(pci_bus_id) as card:
            return int(pynvml.nvmlDeviceGetIndex(card))
    except DeviceError:
        return None


def power_limit_w(pci_bus_id: str) -> float | None:
    """Return the current power limit of the card at `pci_bus_id` in watts, None if the driver does not report it."""
    try:
        with _opened(pci_bus_id) as card:
            return float(pynvml.nvmlDeviceGetEnforcedPowerLimit(card)) / 1000
    except DeviceError:
        return None


@contextlib.contextmanager
def _opened(pci_bus_id: str) -> Iterator[Any]:
    """Open a card. NVML stays initialised if the body succeeds, and is shut down at the end of the process."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise DeviceError(f"NVML does not start: {error}", remedy="run nvidia-smi") from error
    try:
        yield pynvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id.encode())
    except pynvml.NVMLError as error:
        _shut_down()
        raise DeviceError(f"NVML does not answer for {pci_bus_id}: {error}", remedy="run nvidia-smi") from error
    except DeviceError:
        _shut_down()
        raise


def _shut_down() -> None:
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


def _is_divided(card: Any) -> bool:
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(card)
    except REFUSALS:
        return False  # the card cannot be divided, or the driver is older than MIG
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _process_lists(card: Any) -> tuple[Sequence[Callable[[Any], Any]], str]:
    """Return the process queries that the driver supports, and the reason why the last unsupported one failed."""
    lists, why_not = [], ""
    for forms in _LISTS:
        for running in forms:
            try:
                running(card)
            except REFUSALS as error:
                why_not = str(error)
            else:
                lists.append(running)
                break
    return lists, why_not
