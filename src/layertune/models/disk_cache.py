"""The user's cache folder, for values that are slow to compute.

A cache file has two lines: the SHA-256 of the second, and JSON. If the cache cannot be read or written, its values are
computed again; nothing else changes.
"""

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
    """Return a key that changes when one of the files does: their paths, sizes, inodes and times of change.

    The time of the inode's change is among them, which no copy and no tool can set back.

    Raises:
        OSError: a file does not exist.
    """
    statuses = [(file.resolve(), file.stat()) for file in files]
    return " ".join(
        f"{path} {status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
        for path, status in statuses
    )


def read_entries(store: Path) -> dict[str, Any]:
    """Return the entries of a cache file, none if it is missing or damaged, or if its digest shows that it was changed
    after it was written."""
    try:
        digest, _, text = read_text(store, _MOST_BYTES).partition("\n")
        entries = json.loads(text) if digest == _digest(text) else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def add_entries(store: Path, entries: dict[str, Any]) -> None:
    """Add entries to a cache file. It is replaced as a whole, so that no reader sees half of it."""
    with contextlib.suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(read_entries(store) | entries)
        write_text(store, f"{_digest(text)}\n{text}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
