"""Which probe a device gets."""

from layertune.devices.opened import OpenDevice
from layertune.devices.target import Target
from layertune.engine import ggml
from layertune.errors import DeviceError
from layertune.vram.polling import PollingProbe, Reading
from layertune.vram.probe import VramProbe


def open_probe(target: Target, device: OpenDevice, ledger_descriptor: int | None, model: str) -> VramProbe | None:
    """Return the best probe for `target`, None for the CPU. `model` is any model of the trial: they share the device.

    The emulated card has its ledger, an NVIDIA card NVML, any other GPU what its ggml backend tells.
    """
    if target.kind == "emulated" and ledger_descriptor is not None:
        from layertune.devices.emulated.ledger import Ledger
        from layertune.vram.ledger import LedgerProbe

        return LedgerProbe(Ledger(ledger_descriptor), device.settle)
    if target.kind == "cpu":
        return None
    if target.pci_bus_id is not None:
        from layertune.vram.nvml import open_reader

        try:
            read_nvml = open_reader(target.pci_bus_id)
        except DeviceError:
            pass  # an AMD or Intel card has a PCI address too, and no NVML
        else:
            return PollingProbe(read_nvml, "nvml")
    handle = device.devices(model)[0]

    def read_ggml() -> Reading:
        free_bytes, total_bytes = ggml.memory(handle)
        return Reading(total_bytes - free_bytes, own_bytes=None)

    return PollingProbe(read_ggml, "ggml")
