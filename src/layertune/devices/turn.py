"""Whose turn it is to measure on a device: one search at a time, since two would take each other's memory and speed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from layertune.devices.file_lock import lock_file, open_lock_file, owner_of_lock, sign_lock
from layertune.devices.target import Target
from layertune.models.cache import cache_folder

_POLL_S = 0.05
_N_TRIES = 20


class DeviceTurn:
    """The turn on a target, its locks in the cache unless `folder` is given. Several devices are taken one after the
    other, in one order by all processes, so that no two of them wait for each other.

    Where no lock can be had `warn` is told so, once, and the device is taken without: as with the rest of the cache,
    nothing ends for that.
    """

    def __init__(self, target: Target, folder: Path | None = None, *, warn: Callable[[str], None]) -> None:
        folder = cache_folder() / "devices" if folder is None else folder
        names = sorted({_name(device) for device in target.devices or (target,)})
        self._turns = [_Turn(folder, name, warn) for name in names]

    def take(self, on_wait: Callable[[str], None]) -> None:
        """Wait until the device is ours; `on_wait` is told whose it is, once, if it is another's."""
        for turn in self._turns:
            turn.take(on_wait)

    @contextmanager
    def held(self, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Take the device, and give it back after whatever is done inside."""
        self.take(on_wait)
        try:
            yield
        finally:
            self.give()

    def is_wanted(self) -> bool:
        """Say whether the device is to be given and taken again: another process waits for it, or our lock file was
        removed, which is no lock against who makes a new one."""
        return any(turn.is_wanted() for turn in self._turns)

    def give(self) -> None:
        for turn in self._turns:
            turn.give()


class _Turn:
    """Two locks of this user on this machine. Who waits for the device holds the turn, so one that has just measured
    comes after it. Both go with their process, however that dies."""

    def __init__(self, folder: Path, name: str, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._name = name
        self._warn = warn
        self._device: IO[str] | None = None
        self._has_locks = True

    def take(self, on_wait: Callable[[str], None]) -> None:
        if self._device is not None or not self._has_locks:
            return
        try:
            self._device = self._taken(on_wait)
        except _NoLocks as error:
            self._has_locks = False
            self._warn(f"no lock in {self._folder}: {error}; a search beside this one would measure at the same time")

    def is_wanted(self) -> bool:
        if self._device is None:
            return False
        with suppress(_NoLocks):
            if not self._is_there("lock", self._device):
                return True
            with self._open("turn") as turn:
                return not _try(turn)
        return False

    def give(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def _taken(self, on_wait: Callable[[str], None]) -> IO[str]:
        """Return the device's file, locked. Raises _NoLocks."""
        told = False
        for _ in range(_N_TRIES):
            with ExitStack() as kept:
                device = kept.enter_context(self._open("lock"))
                with self._open("turn") as turn:
                    for file in (turn, device):
                        while not _try(file):
                            if not told:
                                on_wait(owner_of_lock(device) or "another process")
                            told = True
                            time.sleep(_POLL_S)
                    # A file that was removed while we waited locks nobody out.
                    if self._is_there("turn", turn) and self._is_there("lock", device):
                        sign_lock(device, f"process {os.getpid()}")
                        kept.pop_all()
                        return device
        raise _NoLocks("its files do not stay")

    def _open(self, kind: str) -> IO[str]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return open_lock_file(self._path(kind))
        except OSError as error:
            raise _NoLocks(error.strerror) from error

    def _is_there(self, kind: str, file: IO[str]) -> bool:
        """Say whether this open file is still the one that others open."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path(kind).stat())
        except OSError:
            return False

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"


class _NoLocks(Exception):
    """The system gives no lock: a cache that cannot be written, a full disk, a file system without locks."""


def _name(target: Target) -> str:
    """Emulated cards and the CPU compute with the same processor."""
    if target.kind != "gpu":
        return "processor"
    return f"gpu-{target.pci_bus_id or target.gpu_index}".replace(":", "-")


def _try(file: IO[str]) -> bool:
    """Raises _NoLocks."""
    try:
        lock_file(file)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise _NoLocks(error.strerror) from error
    return True
