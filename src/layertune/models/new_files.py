"""Checks before large files are written, so that no command computes for minutes and then cannot write."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from layertune.errors import ModelFileError, listed
from layertune.regular_files import is_folder, is_there
from layertune.units import format_bytes


def check_new(sizes: Mapping[Path, int], *, overwrite: bool) -> None:
    """Make the folder of new files, and check that none is there yet and that its disk has room for all.

    Args:
        sizes: The size of each file in bytes, all in one folder.
        overwrite: Whether files that are there are replaced. They take room until then.

    Raises:
        ModelFileError: a file exists already or is a folder, or the disk is full or not writable.
    """
    folder = next(iter(sizes)).parent
    for path in sizes:
        if is_folder(path):
            raise ModelFileError(f"{path} is a folder", remedy="add a file name")
        if is_there(path) and not overwrite:
            raise ModelFileError(f"{path} exists already", remedy="choose another name, or --overwrite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise ModelFileError(f"cannot write to {folder}: {error.strerror}", remedy="choose another folder") from error
    needed_bytes = sum(sizes.values())
    if free_bytes < needed_bytes:
        raise ModelFileError(
            f"{listed(map(str, sizes))}: {format_bytes(needed_bytes)} are needed, and the disk has "
            f"{format_bytes(free_bytes)} free",
            remedy="make room, or choose another disk",
        )
