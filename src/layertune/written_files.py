"""Writes files completely or not at all: a kill, a full disk or a power cut leaves no half file."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# `.NAME.PID.layertune-part`. NAME may be shortened, because a file name has at most 255 bytes.
_PART = re.compile(r"\.(?P<pid>\d{1,7})\.layertune-part")
_MOST_NAME_BYTES = 220


def write_text(path: Path, text: str) -> None:
    """Write a text file with `replacing`. Line ends are not changed: shell scripts need theirs on Windows too.

    Raises:
        OSError: it cannot be written; an earlier file is unchanged.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", errors="surrogateescape"))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing. It replaces `path` at the end of the block, and is removed if that fails.

    - A symbolic link stays: the file that it points to is replaced.
    - The permissions of the replaced file stay. A file without write permission is not replaced.
    - A pipe, a device and standard output (`/dev/stdout`) are written directly. A reader that stops early is no error.
    - A file that the system does not allow to be replaced is overwritten: one in a folder without write permission,
      or one that a container mounts.

    Raises:
        OSError: it cannot be written.
    """
    old = _status(path)
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    standard = None if old is None else _standard_output(old)
    if standard is not None or (old is not None and not stat.S_ISREG(old.st_mode)):
        with suppress(BrokenPipeError), path.open("wb") if standard is None else os.fdopen(standard, "wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    if old is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    _remove_left_behind(target)
    part = target.with_name(f"{_start(target)}.{os.getpid()}.layertune-part")
    try:
        file = part.open("xb")
    except PermissionError:
        if old is None:
            raise
        with target.open("wb") as file:
            yield file
        return
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _take_place(part, target, old)
    finally:
        with suppress(OSError):
            part.unlink()


def _take_place(part: Path, target: Path, old: os.stat_result | None) -> None:
    if old is not None:
        if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(OSError):  # only the superuser can
                os.chown(part, old.st_uid, old.st_gid)
        part.chmod(stat.S_IMODE(old.st_mode))
    try:
        part.replace(target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        shutil.copyfile(part, target)
    if os.name == "posix":
        _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a file's new name survive a power cut, if the file system supports that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _standard_output(status: os.stat_result) -> int | None:
    """Return a descriptor of standard output or standard error if the file is one of them.

    Opening such a file again would truncate it after `>> file`.
    """
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(descriptor)):
                return os.dup(descriptor)
    return None


def _remove_left_behind(target: Path) -> None:
    """Remove partial files that a killed process left from an earlier write."""
    if os.name != "posix":
        return  # no safe way to check whether a process exists
    start = _start(target)
    with suppress(OSError):
        for entry in os.scandir(target.parent):
            match = _PART.fullmatch(entry.name.removeprefix(start)) if entry.name.startswith(start) else None
            if match and not _is_another(int(match["pid"])):
                Path(entry.path).unlink()


def _start(target: Path) -> str:
    name = os.fsencode(target.name)[:_MOST_NAME_BYTES]
    return f".{name.decode(errors='ignore')}"


def _is_another(pid: int) -> bool:
    """Return whether another process with this number is running."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
