"""A lock on an open file, the system's own: it ends when the file is closed or its process does, however that dies.

The text in the file says whose it is, for people only: it may outlive its writer, the lock does not.
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
    """Open a lock file, and create it if it is missing. Its content stays, and a symbolic link is not followed.

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
    """Return the text in a lock file, None if it has none that a lock's owner has written."""
    with suppress(OSError):
        file.seek(0)
        text = file.read(_MOST_CHARACTERS)
        if _SIGNATURE.fullmatch(text):
            return text.strip()
    return None


def sign_lock(file: IO[str], owner: str) -> None:
    """Write into a lock file whose it is, unless it holds other text: that is somebody's file by the same name.

    Not through the file's buffer: what a full disk refuses would be written again when the file is closed.
    """
    with suppress(OSError):
        if os.fstat(file.fileno()).st_size == 0 or owner_of_lock(file) is not None:
            os.truncate(file.fileno(), 0)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            os.write(file.fileno(), f"{owner}\n".encode())


if sys.platform == "win32":
    import msvcrt

    def lock_file(file: IO[str]) -> None:
        """Raises BlockingIOError or PermissionError where another process has it, OSError where there are no locks."""
        # A byte far behind the text, which stays readable for others: Windows locks are mandatory.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def lock_file(file: IO[str]) -> None:
        """Raises BlockingIOError or PermissionError where another process has it, OSError where there are no locks."""
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
