"""The lock of a study folder: one search at a time. The system releases it when its process ends, however it ends."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from layertune.devices.file_lock import lock_file, open_lock_file, owner_of_lock, sign_lock
from layertune.errors import StorageError, StudyLocked
from layertune.search.folder import LOCK_NAME


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        StudyLocked: another process holds it; the message names that process.
        StorageError: the folder cannot be written, or its file system has no locks.
    """
    path = folder / LOCK_NAME
    try:
        file = open_lock_file(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}", remedy="check the folder, or choose another with --study DIR"
        ) from error
    with file:
        _take(file, folder)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        sign_lock(file, f"{os.getpid()} on {platform.node()} since {started}")
        yield


def _take(file: IO[str], folder: Path) -> None:
    try:
        lock_file(file)
    except (BlockingIOError, PermissionError) as error:
        owner = owner_of_lock(file) or "unknown"
        raise StudyLocked(
            f"{folder} is in use by another layertune (process {owner})", remedy="wait for it, or stop it first"
        ) from error
    except OSError as error:
        raise StorageError(
            f"cannot lock {folder}: {error.strerror}", remedy="choose a folder on a local disk with --study DIR"
        ) from error
