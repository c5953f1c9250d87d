"""The lease of a device: one process at a time measures on it, since two would share its memory and speed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from layertune.devices.file_lock import lock_file, open_lock_file, owner_of_lock, sign_lock
from layertune.devices.target import Target
from layertune.models.disk_cache import cache_folder

_POLL_S = 0.05
_N_TRIES = 20


class DeviceLease:
    """The lease of all devices of a target.

    Several devices are locked one after the other. Every process locks them in the same order, so that no two processes
    wait for each other.

    Args:
        target: the device, or the devices.
        folder: where the lock files are; without it, a folder of the cache.
        warn: called once with a sentence if the system gives no lock. The device is then used without one.
    """

    def __init__(self, target: Target, folder: Path | None = None, *, warn: Callable[[str], None]) -> None:
        folder = cache_folder() / "devices" if folder is None else folder
        names = sorted({_name(device) for device in target.devices or (target,)})
        self._locks = [_DeviceLock(folder, name, warn) for name in names]

    def acquire(self, on_wait: Callable[[str], None]) -> None:
        """Wait until the device is free, and lock it. Does nothing if this process holds the lease already.

        Args:
            on_wait: called once with the name of the process that holds the lease, if there is one.
        """
        for lock in self._locks:
            lock.acquire(on_wait)

    @contextmanager
    def held(self, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Hold the lease for the duration of a `with` block."""
        self.acquire(on_wait)
        try:
            yield
        finally:
            self.release()

    def is_wanted(self) -> bool:
        """Say whether this process should release the lease and acquire it again.

        It should if another process waits for it. It also should if its lock file was removed, since another process
        would create and lock a new one.
        """
        return any(lock.is_wanted() for lock in self._locks)

    def release(self) -> None:
        """Unlock the device. Does nothing if this process does not hold the lease."""
        for lock in self._locks:
            lock.release()


class _DeviceLock:
    """The lock of one device, for all processes of this user on this machine.

    There are two lock files. `.lock` is held by the process that uses the device. `.turn` is held by the process that
    is next, so a process that has just measured cannot overtake one that waits. The system releases both when their
    process ends, however it ends.
    """

    def __init__(self, folder: Path, name: str, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._name = name
        self._warn = warn
        self._device: IO[str] | None = None
        self._has_locks = True

    def acquire(self, on_wait: Callable[[str], None]) -> None:
        if self._device is not None or not self._has_locks:
            return
        try:
            self._device = self._locked(on_wait)
        except _NoLocks as error:
            self._has_locks = False
            self._warn(f"no lock in {self._folder}: {error}; another search here would measure at the same time")

    def is_wanted(self) -> bool:
        if self._device is None:
            return False
        with suppress(_NoLocks):
            if not self._is_current("lock", self._device):
                return True
            with self._open("turn") as queue:
                return not _try_lock(queue)
        return False

    def release(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def _locked(self, on_wait: Callable[[str], None]) -> IO[str]:
        """Return the device's lock file, locked. Raises _NoLocks."""
        announced = False
        for _ in range(_N_TRIES):
            with ExitStack() as kept:
                device = kept.enter_context(self._open("lock"))
                with self._open("turn") as queue:
                    for file in (queue, device):
                        while not _try_lock(file):
                            if not announced:
                                on_wait(owner_of_lock(device) or "another process")
                            announced = True
                            time.sleep(_POLL_S)
                    # A lock on a file that was removed meanwhile keeps no other process out: try again.
                    if self._is_current("turn", queue) and self._is_current("lock", device):
                        sign_lock(device, f"process {os.getpid()}")
                        kept.pop_all()
                        return device
        raise _NoLocks("the lock files are removed again and again")

    def _open(self, kind: str) -> IO[str]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return open_lock_file(self._path(kind))
        except OSError as error:
            raise _NoLocks(error.strerror) from error

    def _is_current(self, kind: str, file: IO[str]) -> bool:
        """Say whether this open file is still the one at its path, which other processes open."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path(kind).stat())
        except OSError:
            return False

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"


class _NoLocks(Exception):
    """The system gives no lock: the cache is not writable, the disk is full, or the file system has no locks."""


def _name(target: Target) -> str:
    """Return the name of the hardware that a target computes with: emulated cards and the CPU share the processor."""
    if target.kind != "gpu":
        return "processor"
    return f"gpu-{target.pci_bus_id or target.gpu_index}".replace(":", "-")


def _try_lock(file: IO[str]) -> bool:
    """Lock a file; return False if another process holds the lock. Raises _NoLocks."""
    try:
        lock_file(file)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise _NoLocks(error.strerror) from error
    return True
