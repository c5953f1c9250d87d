"""The one place that writes what exporters render."""

from pathlib import Path

from layertune.errors import UsageError


def write_text(path: Path, text: str) -> None:
    """Raises UsageError where the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", remedy="choose another file with -o") from error
