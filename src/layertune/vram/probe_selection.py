"""Selects the probe and the watch for a device."""

from collections.abc import Callable, Sequence

from layertune.devices.open_device import OpenDevice
from layertune.devices.target import Target
from layertune.engine import ggml
from layertune.errors import DeviceError
from layertune.vram.gpu_conditions import GpuWatch
from layertune.vram.polling_probe import PollingProbe
from layertune.vram.probe import MultiDeviceProbe, VramProbe
from layertune.vram.readings import Reading


def read_before_opening(target: Target) -> list[Reading | None]:
    """Return the memory in use on each device before this process opens it, None without NVML.

    Opening a GPU creates a context there (518 MiB on an H200), which belongs to the trial. If the driver reports only
    the whole device, this earlier reading is the only way to separate the context from other programs' memory.
    """
    return [None if part.pci_bus_id is None else _read_once(part.pci_bus_id) for part in target.devices]


def _read_once(pci_bus_id: str) -> Reading | None:
    from layertune.vram.nvml import open_reader

    try:
        return open_reader(pci_bus_id).read()
    except DeviceError:
        return None


def free_bytes(target: Target) -> int | None:
    """Return what is free of one GPU while this process has not opened it; None for any other device.

    With NVML it is what the driver reports. Otherwise it is what the backend reported when the GPU was found, which on
    some backends is less by the context of the process that looked.
    """
    if target.pci_bus_id is not None:
        from layertune.vram.nvml import open_reader

        try:
            return open_reader(target.pci_bus_id).free_bytes()
        except DeviceError:
            pass  # no NVIDIA card, or MIG divides it
    return target.free_bytes


def open_probe(
    target: Target,
    device: OpenDevice,
    ledger_descriptors: Sequence[int],
    model: str,
    before: Sequence[Reading | None],
) -> VramProbe | None:
    """Return the best probe for a target, None for the CPU.

    The emulated card is read from its ledger, an NVIDIA card through NVML, and any other GPU through its ggml backend.
    The report's notes name queries that NVML does not support. If the memory cannot be read at all, the probe's first
    `start` raises DeviceError.

    Args:
        target: The devices to watch.
        device: The same devices as this worker has opened them.
        ledger_descriptors: File descriptors of the emulated cards' ledgers.
        model: The name of any model of the trial; all of them share the devices.
        before: The result of `read_before_opening`.
    """
    if target.kind == "emulated":
        from layertune.devices.emulated.ledger import Ledger
        from layertune.vram.ledger_probe import LedgerProbe

        return _composite([LedgerProbe(Ledger(each), device.settle) for each in ledger_descriptors])
    devices = enumerate(zip(target.devices, before, strict=True))
    return _composite([_gpu_probe(part, device, model, index, baseline) for index, (part, baseline) in devices])


def _composite(probes: Sequence[VramProbe]) -> VramProbe | None:
    """Return one probe for all devices, None without a device."""
    if len(probes) > 1:
        return MultiDeviceProbe(probes)
    return probes[0] if probes else None


def _gpu_probe(target: Target, device: OpenDevice, model: str, index: int, baseline: Reading | None) -> VramProbe:
    notes = []
    if target.pci_bus_id is not None:
        from layertune.vram.nvml import open_reader

        try:
            reader = open_reader(target.pci_bus_id)
        except DeviceError as error:  # an AMD or Intel card has a PCI address too, but not NVML
            notes.append(f"{error.what}: the values of llama.cpp's backend are used instead")
        else:
            return PollingProbe(reader.read, "nvml", notes=reader.notes, baseline=baseline)
    return PollingProbe(ggml_reader(target, device.devices(model)[index]), "ggml", notes=notes)


def open_outside_probe(target: Target, ledger_descriptor: int | None) -> VramProbe | None:
    """Return a probe for the memory of other processes, such as llama-servers; this process loads no llama.cpp.

    Returns:
        None on a CPU, and on a GPU without NVML, since reading it through ggml needs llama.cpp.
    """
    if target.kind == "emulated" and ledger_descriptor is not None:
        from layertune.devices.emulated.ledger import Ledger
        from layertune.vram.ledger_probe import LedgerProbe

        return LedgerProbe(Ledger(ledger_descriptor), lambda: None)  # only a client can settle the servers
    if target.kind != "gpu" or target.pci_bus_id is None:
        return None
    from layertune.vram.nvml import open_reader

    try:
        reader = open_reader(target.pci_bus_id)
    except DeviceError:
        return None
    return PollingProbe(reader.read, "nvml", notes=reader.notes)


def open_watch(target: Target) -> GpuWatch | None:
    """Return a watch over an NVIDIA card's conditions, None for any other device.

    It is also None if NVML does not answer, which the probe's notes report. Open it before this process works on the
    card.
    """
    if target.kind != "gpu" or target.pci_bus_id is None:
        return None
    from layertune.vram.nvml import open_card
    from layertune.vram.nvml_watch import NvmlWatch, has_host_pids

    try:
        return NvmlWatch(open_card(target.pci_bus_id), host_pids=has_host_pids())
    except DeviceError:
        return None


def ggml_reader(target: Target, device: ggml.DeviceHandle) -> Callable[[], Reading]:
    """Return a function that reads a GPU's memory through its backend; it raises DeviceError without an answer."""

    def read() -> Reading:
        free_bytes, total_bytes = ggml.memory(device)
        if total_bytes == 0 or free_bytes > total_bytes:  # a ggml backend that does not know them
            raise DeviceError(
                f"llama.cpp's backend does not report the memory of {target.name}",
                remedy="use a build of llama.cpp for CUDA, Vulkan, ROCm or Metal",
            )
        return Reading(total_bytes - free_bytes, own_bytes=None)

    return read
