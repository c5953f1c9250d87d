"""SHA-256 of model files, remembered: hashing 5 GB takes longer than a trial."""

import hashlib
from pathlib import Path

from layertune.errors import ModelFileError
from layertune.models.cache import add_entries, cache_folder, read_entries, unchanged_key


def file_sha256(path: Path, cache: Path | None = None) -> str:
    """Return the file's SHA-256 in hex, from the cache where it is the same file and nobody has changed it.

    Raises:
        ModelFileError: the file cannot be read.
    """
    store = (cache or cache_folder()) / "sha256.json"
    try:
        key = unchanged_key([path])
        known = read_entries(store).get(key)
        if isinstance(known, str):
            return known
        digest = sha256_of(path)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    add_entries(store, {key: digest})
    return digest


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file that is read now. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
