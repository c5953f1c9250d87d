"""One layertune at a time on a study folder. The lock is the system's, so it goes with its owner, however that dies."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from layertune.errors import StudyLocked

_FILE_NAME = "study.lock"


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        StudyLocked: another process holds it; the message names that process.
    """
    with (folder / _FILE_NAME).open("a+", encoding="ascii") as file:
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise StudyLocked(
                f"{folder} is in use by another layertune (process {owner})", remedy="wait for it, or stop it first"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # A byte far behind the text, which stays readable for others: Windows locks are mandatory.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
