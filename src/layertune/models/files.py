"""One model's files (all parts of a split model) as they were when a command started, and their SHA-256."""

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
    """What the system reports of a file without reading it. Any write, copy or replacement changes a part of it."""

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
    """Notices when a model's files change. Their SHA-256 is computed once and kept, even if the files go away."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Raises ModelFileError if one does not exist."""
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
            ModelFileError: a file has changed or cannot be read.
        """
        if self._sha256 is None:
            found = tuple(map(file_sha256, self._files))
            self.check()
            self._sha256 = found
        return self._sha256

    def check(self) -> None:
        """Compare each file's status with the first one, and read the files whose status has changed.

        Raises:
            ModelFileError: a file is gone, or its contents have changed.
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
    """Return the file's SHA-256 in hex, from the cache if the file has not changed.

    Hashing 5 GB takes longer than a trial.

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
    """Read a file and return its SHA-256 in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
