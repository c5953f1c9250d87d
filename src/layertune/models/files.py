"""One model's files, all parts of a split model, as they were when a command began with them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layertune.errors import ModelFileError
from layertune.models.disk_cache import add_entries, cache_folder, read_entries, unchanged_key
from layertune.models.shape import ModelShape
from layertune.models.shape_cache import cached_shape

_REMEDY = "put the first file back and go on with --resume, or start another study with --study DIR"


@dataclass(frozen=True, slots=True)
class _Status:
    """What the system says of a file without reading it: any write, copy or replacement changes a part of it."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, file: Path) -> "_Status":
        status = file.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


class ModelFiles:
    """Knows a model's files again. Their SHA-256 is read once, so it is theirs even when they are gone later."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Raises ModelFileError where one is not there."""
        self._files = tuple(files)
        try:
            self._statuses = {file: _Status.of(file) for file in self._files}
        except OSError as error:
            raise ModelFileError(f"cannot read {error.filename}: {error.strerror}", remedy="check the path") from error
        self._sha256: tuple[str, ...] | None = None

    @classmethod
    def of_shape(cls, shape: ModelShape) -> "ModelFiles":
        """Return the files whose headers gave this shape.

        Raises:
            ModelFileError: one was replaced since they were read.
        """
        files = cls(shape.files)
        now = cached_shape(shape.files[0])
        if (now.digest(), now.file_bytes, now.quantization) != (shape.digest(), shape.file_bytes, shape.quantization):
            raise ModelFileError(f"{shape.files[0]} was replaced since it was read", remedy="run the command again")
        return files

    def sha256(self) -> tuple[str, ...]:
        """Return the SHA-256 of each file in hex.

        Raises:
            ModelFileError: one is not what it was, or cannot be read.
        """
        if self._sha256 is None:
            found = tuple(map(file_sha256, self._files))
            self.check()
            self._sha256 = found
        return self._sha256

    def check(self) -> None:
        """Look at each file again, and read those whose status has changed.

        Raises:
            ModelFileError: one is gone, or has other contents.
        """
        for index, file in enumerate(self._files):
            try:
                now = _Status.of(file)
                if now != self._statuses[file] and not self._has_same_contents(index, now):
                    raise ModelFileError(f"{file} was replaced or changed", remedy=_REMEDY)
            except OSError as error:
                raise ModelFileError(f"{file} cannot be read any more: {error.strerror}", remedy=_REMEDY) from error
            self._statuses[file] = now

    def _has_same_contents(self, index: int, now: _Status) -> bool:
        file = self._files[index]
        if self._sha256 is None or now.size_bytes != self._statuses[file].size_bytes:
            return False
        return sha256_of(file) == self._sha256[index]


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
