"""The one place that writes what exporters render."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from layertune.errors import UsageError


def write_files(output: Path, files: Mapping[str, str]) -> Iterator[Path]:
    """Write one file as `output`, several, or one whose `output` is a folder, into it; give each path once written.

    Raises:
        UsageError: a file cannot be written.
    """
    if len(files) == 1 and not output.is_dir():
        write_text(output, *files.values())
        yield output
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {output}: {error.strerror}", remedy="choose another folder with -o") from error
    for name, text in files.items():
        write_text(output / name, text)
        yield output / name


def write_text(path: Path, text: str) -> None:
    """Raises UsageError where the file cannot be written."""
    try:
        # As it is, also on Windows: a shell script or a unit with other line ends does not start.
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", remedy="choose another file with -o") from error
