"""The files that a search makes of its trials."""

from pathlib import Path

from layertune.errors import StorageError
from layertune.written_files import write_text

RESUME = "make room there, then run the same command with --resume: all finished trials are kept"


def write_study_file(path: Path, text: str) -> None:
    """Write a text file; it is whole, or as it was.

    Raises:
        StorageError: the file cannot be written there.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", remedy=RESUME) from error
