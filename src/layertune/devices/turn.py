"""Whose turn it is to measure on a device: one search at a time, since two would take each other's memory and speed."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from layertune.devices.file_lock import lock_file
from layertune.devices.target import Target
from layertune.errors import StorageError
from layertune.models.cache import cache_folder

_POLL_S = 0.05


class DeviceTurn:
    """Two locks of this user on this machine, in the cache unless `folder` is given. Who waits for the device holds the
    turn, so one that has just measured comes after it. Both go with their process, however that dies.

    Every method raises StorageError where the lock files cannot be made.
    """

    def __init__(self, target: Target, folder: Path | None = None) -> None:
        self._folder = cache_folder() / "devices" if folder is None else folder
        self._name = _name(target)
        self._device: IO[str] | None = None

    def take(self, on_wait: Callable[[str], None]) -> None:
        """Wait until the device is ours; `on_wait` is told whose it is, once, if it is another's."""
        if self._device is not None:
            return
        with ExitStack() as kept:
            turn, device = self._open("turn"), kept.enter_context(self._open("lock"))
            told = False
            with turn:
                for file in (turn, device):
                    while not _try(file):
                        if not told:
                            on_wait(_owner(device))
                        told = True
                        time.sleep(_POLL_S)
            device.truncate(0)
            device.write(f"process {os.getpid()}\n")
            device.flush()
            self._device = device
            kept.pop_all()

    def is_wanted(self) -> bool:
        """Say whether the device is ours and another process waits for it."""
        if self._device is None:
            return False
        with self._open("turn") as turn:
            return not _try(turn)

    def give(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def _open(self, kind: str) -> IO[str]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return (self._folder / f"{self._name}.{kind}").open("a+", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"cannot write {self._folder}: {error.strerror}",
                remedy="set XDG_CACHE_HOME to a folder that can be written",
            ) from error


def _name(target: Target) -> str:
    """Emulated cards and the CPU compute with the same processor."""
    if target.kind != "gpu":
        return "processor"
    return f"gpu-{target.pci_bus_id or target.gpu_index}".replace(":", "-")


def _owner(device: IO[str]) -> str:
    device.seek(0)
    return device.read().strip() or "another process"


def _try(file: IO[str]) -> bool:
    with suppress(BlockingIOError, PermissionError):
        lock_file(file)
        return True
    return False
