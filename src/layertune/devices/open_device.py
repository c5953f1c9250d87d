"""The devices of a study, opened by one worker."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from layertune.devices.target import Target
from layertune.engine import ggml, library
from layertune.errors import DeviceError


class OpenDevice(Protocol):
    """Opened devices, which give each model its ggml devices."""

    def devices(self, model: str) -> list[ggml.DeviceHandle]:
        """Return the devices that this model's layers are offloaded to; an empty list keeps them on the host."""
        ...

    def settle(self) -> None:
        """Wait until the device has completed all requests, including frees."""
        ...

    def close(self) -> None:
        """Release the device. Close every model on it first."""
        ...


class LocalDevice:
    """GPUs of this machine, which all models share; none for the CPU."""

    def __init__(self, target: Target) -> None:
        """Load llama.cpp and find the target's GPUs.

        Raises:
            DeviceError: a GPU is no longer there.
        """
        library.load()
        gpus = dict(enumerate(device for device in ggml.devices() if ggml.props(device).is_gpu))
        self._devices: list[ggml.DeviceHandle] = []
        for each in target.devices:
            if each.gpu_index not in gpus:
                raise DeviceError(
                    f"llama.cpp no longer detects {each.name}", remedy="look at the GPU driver, then run it again"
                )
            self._devices.append(gpus[each.gpu_index])

    def devices(self, model: str) -> list[ggml.DeviceHandle]:
        return self._devices

    def settle(self) -> None:
        """Do nothing: a local driver frees memory before it returns."""

    def close(self) -> None:
        """Do nothing: the driver releases the device at the end of the process."""


class MultiCardDevice:
    """A composite of several emulated cards: each model has one device on each of them."""

    def __init__(self, cards: Sequence[OpenDevice]) -> None:
        self._cards = tuple(cards)

    def devices(self, model: str) -> list[ggml.DeviceHandle]:
        return [device for card in self._cards for device in card.devices(model)]

    def settle(self) -> None:
        for card in self._cards:
            card.settle()

    def close(self) -> None:
        for card in self._cards:
            card.close()


def open_device(target: Target, model_names: Sequence[str], ledger_descriptors: Sequence[int]) -> OpenDevice:
    """Open a study's devices in this process.

    Args:
        target: The devices.
        model_names: The models that share them.
        ledger_descriptors: File descriptors of the emulated cards' ledgers, inherited from the search.

    Raises:
        DeviceError: the device cannot be opened.
    """
    if target.kind != "emulated":
        return LocalDevice(target)
    from layertune.devices.emulated.card import EmulatedCard
    from layertune.devices.emulated.ledger import Ledger

    if len(ledger_descriptors) != len(target.devices) or target.n_threads is None:
        raise DeviceError("an emulated card needs a ledger and threads")
    with ExitStack() as opened:
        cards = []
        for descriptor in ledger_descriptors:
            cards.append(EmulatedCard(Ledger(descriptor), model_names, target.n_threads))
            opened.callback(cards[-1].close)
        opened.pop_all()  # all cards are open: the caller closes them
    return cards[0] if len(cards) == 1 else MultiCardDevice(cards)
