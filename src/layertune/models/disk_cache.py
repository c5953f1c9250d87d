"""The user's cache folder: what is slow to find out, kept as a line with a SHA-256 and one of JSON. A cache that cannot
be read or written costs time, nothing else."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from layertune.regular_files import read_text
from layertune.units import MIB
from layertune.written_files import write_text

_MOST_BYTES = 64 * MIB


def cache_folder() -> Path:
    """Return the user's cache folder of layertune."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "layertune"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layertune"


def unchanged_key(files: Iterable[Path]) -> str:
    """Return what changes when one of the files does: their paths, sizes, inodes and times of change. The last one,
    of the inode, no copy and no tool sets back.

    Raises:
        OSError: a file is not there.
    """
    statuses = [(file.resolve(), file.stat()) for file in files]
    return " ".join(
        f"{path} {status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
        for path, status in statuses
    )


def read_entries(store: Path) -> dict[str, Any]:
    """Return the entries of a cache file; none where it is missing, damaged, or has been changed since it was written,
    so that whoever reads an entry finds what this layertune has put there."""
    try:
        digest, _, text = read_text(store, _MOST_BYTES).partition("\n")
        entries = json.loads(text) if digest == _digest(text) else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def add_entries(store: Path, entries: dict[str, Any]) -> None:
    """Add to a cache file, which is replaced whole: a reader never sees half of it."""
    with contextlib.suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(read_entries(store) | entries)
        write_text(store, f"{_digest(text)}\n{text}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
