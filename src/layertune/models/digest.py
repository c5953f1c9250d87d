"""SHA-256 of model files, remembered: hashing 5 GB takes longer than a trial."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

from layertune.errors import ModelFileError


def cache_folder() -> Path:
    """Return the user's cache folder of layertune."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "layertune"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layertune"


def file_sha256(path: Path, cache: Path | None = None) -> str:
    """Return the file's SHA-256 in hex, from the cache where path, size and time of change are the same.

    Raises:
        ModelFileError: the file cannot be read.
    """
    store = (cache or cache_folder()) / "sha256.json"
    try:
        status = path.stat()
        key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
        known = _read(store)
        if key not in known:
            with path.open("rb") as file:
                known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            _write(store, known)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    return known[key]


def _read(store: Path) -> dict[str, str]:
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # no cache, or a damaged one: both cost a hash, nothing else
    if not isinstance(known, dict):
        return {}
    return {key: digest for key, digest in known.items() if isinstance(digest, str)}


def _write(store: Path, known: dict[str, str]) -> None:
    """Replace the cache whole; a folder that cannot be written costs a hash each time, nothing else."""
    with contextlib.suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=store.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(known, file)
            Path(part).replace(store)
        finally:
            Path(part).unlink(missing_ok=True)
