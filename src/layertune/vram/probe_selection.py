"""Which probe a device gets, and which watch."""

from collections.abc import Callable, Sequence

from layertune.devices.open_device import OpenDevice
from layertune.devices.target import Target
from layertune.engine import ggml
from layertune.errors import DeviceError
from layertune.vram.gpu_conditions import GpuWatch
from layertune.vram.polling_probe import PollingProbe
from layertune.vram.probe import MultiDeviceProbe, VramProbe
from layertune.vram.readings import Reading


def baselines(target: Target) -> list[Reading | None]:
    """Return what is in use of each device before this process opens it, None where NVML does not tell.

    Opening a GPU makes the process a context there (518 MiB of an H200), which is the trial's own. Where the driver
    tells only the whole device, nothing but this order tells it from what others hold.
    """
    return [None if part.pci_bus_id is None else _read_once(part.pci_bus_id) for part in target.devices]


def _read_once(pci_bus_id: str) -> Reading | None:
    from layertune.vram.nvml import open_reader

    try:
        return open_reader(pci_bus_id).read()
    except DeviceError:
        return None


def open_probe(
    target: Target,
    device: OpenDevice,
    ledger_descriptors: Sequence[int],
    model: str,
    before: Sequence[Reading | None],
) -> VramProbe | None:
    """Return the best probe for `target`, None for the CPU. `model` is any model of the trial: they share the device.
    `before` are the `baselines` of a GPU.

    The emulated card has its ledger, an NVIDIA card NVML, any other GPU what its ggml backend tells; what NVML would
    not do is in the report's notes. Where nothing tells the memory the probe's first `start` raises DeviceError.
    """
    if target.kind == "emulated":
        from layertune.devices.emulated.ledger import Ledger
        from layertune.vram.ledger_probe import LedgerProbe

        return _together([LedgerProbe(Ledger(each), device.settle) for each in ledger_descriptors])
    devices = enumerate(zip(target.devices, before, strict=True))
    return _together([_gpu_probe(part, device, model, index, baseline) for index, (part, baseline) in devices])


def _together(probes: Sequence[VramProbe]) -> VramProbe | None:
    """Return one probe for all devices, None where there is none."""
    if len(probes) > 1:
        return MultiDeviceProbe(probes)
    return probes[0] if probes else None


def _gpu_probe(target: Target, device: OpenDevice, model: str, index: int, baseline: Reading | None) -> VramProbe:
    notes = []
    if target.pci_bus_id is not None:
        from layertune.vram.nvml import open_reader

        try:
            reader = open_reader(target.pci_bus_id)
        except DeviceError as error:  # an AMD or Intel card has a PCI address too, and no NVML
            notes.append(f"{error.what}: the figures of llama.cpp's own backend are used instead")
        else:
            return PollingProbe(reader.read, "nvml", notes=reader.notes, baseline=baseline)
    return PollingProbe(_ggml_reader(target, device.devices(model)[index]), "ggml", notes=notes)


def open_outside_probe(target: Target, ledger_descriptor: int | None) -> VramProbe | None:
    """Return a probe for what *other* processes hold, llama-servers for one: this process loads no llama.cpp.

    None where nobody tells: on a CPU, and on a GPU that NVML does not answer for, since ggml's figures need llama.cpp.
    """
    if target.kind == "emulated" and ledger_descriptor is not None:
        from layertune.devices.emulated.ledger import Ledger
        from layertune.vram.ledger_probe import LedgerProbe

        return LedgerProbe(Ledger(ledger_descriptor), lambda: None)  # its clients settle it, and we are none
    if target.kind != "gpu" or target.pci_bus_id is None:
        return None
    from layertune.vram.nvml import open_reader

    try:
        reader = open_reader(target.pci_bus_id)
    except DeviceError:
        return None
    return PollingProbe(reader.read, "nvml", notes=reader.notes)


def open_watch(target: Target) -> GpuWatch | None:
    """Return a watch over an NVIDIA card's conditions, None for any other device and where NVML does not answer, which
    the probe's notes tell. Open it before this process's own work on the card."""
    if target.kind != "gpu" or target.pci_bus_id is None:
        return None
    from layertune.vram.nvml import open_card
    from layertune.vram.nvml_watch import NvmlWatch, has_host_pids

    try:
        return NvmlWatch(open_card(target.pci_bus_id), host_pids=has_host_pids())
    except DeviceError:
        return None


def _ggml_reader(target: Target, device: ggml.DeviceHandle) -> Callable[[], Reading]:
    def read() -> Reading:
        free_bytes, total_bytes = ggml.memory(device)
        if total_bytes == 0:  # what a ggml backend answers that cannot tell
            raise DeviceError(
                f"llama.cpp's backend does not tell the memory of {target.name}",
                remedy="use a build of it for CUDA, Vulkan, ROCm or Metal",
            )
        return Reading(total_bytes - free_bytes, own_bytes=None)

    return read
