"""Locks on open files. The system releases a lock when the file is closed or its process ends, however that happens.

The text in a lock file names the owner, for messages. It may remain after its writer has ended; the lock does not.
"""

import errno
import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

_SIGNATURE = re.compile(r"(process )?\d+( on .*)?\n?")
_MOST_CHARACTERS = 500
_NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)  # Windows has none


def open_lock_file(path: Path) -> IO[str]:
    """Open a lock file for reading and writing, and create it if it is missing. A symbolic link is not followed.

    Raises:
        OSError: it cannot be opened, or is a link, a pipe or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, which a lock file must not be") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def owner_of_lock(file: IO[str]) -> str | None:
    """Return the owner that `sign_lock` wrote into a lock file, None if there is none."""
    with suppress(OSError):
        file.seek(0)
        text = file.read(_MOST_CHARACTERS)
        if _SIGNATURE.fullmatch(text):
            return text.strip()
    return None


def sign_lock(file: IO[str], owner: str) -> None:
    """Write the owner into a lock file. A file with other text is not a lock file, and is left alone.

    The write is unbuffered: if a buffered one failed on a full disk, closing the file would repeat it.
    """
    with suppress(OSError):
        if os.fstat(file.fileno()).st_size == 0 or owner_of_lock(file) is not None:
            os.truncate(file.fileno(), 0)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            os.write(file.fileno(), f"{owner}\n".encode())


if sys.platform == "win32":
    import msvcrt

    def lock_file(file: IO[str]) -> None:
        """Lock an open file without waiting.

        Raises:
            BlockingIOError, PermissionError: another process has locked it.
            OSError: the file system has no locks.
        """
        # Windows locks are mandatory. This byte is far behind the text, so other processes can still read the text.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def lock_file(file: IO[str]) -> None:
        """Lock an open file without waiting.

        Raises:
            BlockingIOError, PermissionError: another process has locked it.
            OSError: the file system has no locks.
        """
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
