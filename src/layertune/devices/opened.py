"""A study's device as one worker holds it."""

from collections.abc import Sequence
from typing import Protocol

from layertune.devices.target import Target
from layertune.engine import ggml, library
from layertune.errors import DeviceError


class OpenDevice(Protocol):
    """Gives each model its ggml devices."""

    def devices(self, model: str) -> list[ggml.DeviceHandle]:
        """Return what this model's layers are offloaded to; an empty list keeps them on the host."""
        ...

    def settle(self) -> None:
        """Return when the device has done what it was told, frees included."""
        ...

    def close(self) -> None:
        """Release the device; every model on it must be closed before."""
        ...


class LocalDevice:
    """A GPU of this machine, or none: all models share it."""

    def __init__(self, target: Target) -> None:
        library.load()
        gpus = [device for device in ggml.devices() if ggml.props(device).is_gpu]
        if target.gpu_index is None:
            self._devices: list[ggml.DeviceHandle] = []
        elif target.gpu_index < len(gpus):
            self._devices = [gpus[target.gpu_index]]
        else:
            raise DeviceError(f"{target.name} is gone", remedy="look at the GPU driver, then run it again")

    def devices(self, model: str) -> list[ggml.DeviceHandle]:
        return self._devices

    def settle(self) -> None:
        """A local driver frees before it returns."""

    def close(self) -> None:
        """The driver releases the device with the process."""


def open_device(target: Target, model_names: Sequence[str], ledger_descriptor: int | None) -> OpenDevice:
    """Open `target` in this process. `ledger_descriptor` is the emulated card's, inherited from the search.

    Raises:
        DeviceError: the device cannot be opened.
    """
    if target.kind != "emulated":
        return LocalDevice(target)
    from layertune.devices.emulated.card import EmulatedCard
    from layertune.devices.emulated.ledger import Ledger

    if ledger_descriptor is None or target.n_threads is None:
        raise DeviceError("an emulated card needs a ledger and threads")
    return EmulatedCard(Ledger(ledger_descriptor), model_names, target.n_threads)
