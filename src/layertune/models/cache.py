"""The user's cache folder: what is slow to find out, kept as JSON. A cache that cannot be read or written costs time,
nothing else."""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from layertune.written_files import write_text


def cache_folder() -> Path:
    """Return the user's cache folder of layertune."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "layertune"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layertune"


def unchanged_key(files: Iterable[Path]) -> str:
    """Return what changes when one of the files does: their paths, sizes and times of change.

    Raises:
        OSError: a file is not there.
    """
    statuses = [(file.resolve(), file.stat()) for file in files]
    return " ".join(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in statuses)


def read_entries(store: Path) -> dict[str, Any]:
    """Return the entries of a cache file, none where it is missing or damaged."""
    try:
        entries = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def add_entries(store: Path, entries: dict[str, Any]) -> None:
    """Add to a cache file, which is replaced whole: a reader never sees half of it."""
    with contextlib.suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        write_text(store, json.dumps(read_entries(store) | entries))
