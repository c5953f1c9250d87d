"""Reads files that a user names: only regular files, and only up to a size.

A FIFO waits for a writer that may never come, and /dev/zero has no end. Unlike pathlib's, the checks here raise no
exception: a name that the system refuses does not exist.
"""

import os
import stat
from errno import EFBIG, EINVAL
from io import BufferedReader, FileIO
from pathlib import Path

from layertune.units import MIB, format_bytes

CONFIG_BYTES = MIB
RESULT_BYTES = 64 * MIB  # a trial takes about 5 KB

_AT_ONCE: int = getattr(os, "O_NONBLOCK", 0)  # Windows has no FIFOs


def read_text(path: Path, most_bytes: int) -> str:
    """Return a regular file's text.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger than `most_bytes`; `strerror` says why.
        UnicodeDecodeError: it is not UTF-8.
    """
    try:
        opened = FileIO(path, opener=_open_at_once)
    except ValueError as error:  # a lone surrogate, or a NUL
        raise OSError(EINVAL, "no file can have that name") from error
    with BufferedReader(opened) as file:
        check_regular(file.fileno())
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(EFBIG, f"it is larger than {format_bytes(most_bytes)}")
    return data.decode("utf-8-sig")  # editors on Windows write a byte order mark


def check_regular(descriptor: int) -> None:
    """Raises OSError if an open file is not regular, like a FIFO or a device."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(EINVAL, "it is not a regular file")


def is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _open_at_once(name: str, flags: int) -> int:
    """Open a FIFO without waiting for its writer."""
    return os.open(name, flags | _AT_ONCE)
