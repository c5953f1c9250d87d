"""Files named by `-o`: the one place that writes what commands render."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from layertune import written_files
from layertune.config import CONFIG_NAME
from layertune.errors import UsageError
from layertune.regular_files import is_folder
from layertune.results.result import FILE_NAME
from layertune.search.folder import JOURNAL_NAME, LOCK_NAME, OWNER_NAME
from layertune.study.prior import COPY_NAME

# A folder with one of the first three is a study's.
_STUDY_FILES = (CONFIG_NAME, JOURNAL_NAME, FILE_NAME, COPY_NAME, OWNER_NAME, LOCK_NAME)
_N_MARKS = 3


def write_files(output: Path, files: Mapping[str, str], *, reads: Iterable[Path]) -> Iterator[Path]:
    """Write one file as `output`, or several into the folder `output`; yield each path once it is written.

    Raises:
        UsageError: a file cannot be written.
    """
    if len(files) == 1 and not is_folder(output):
        write_output(output, *files.values(), reads=reads)
        yield output
        return
    for name in files:
        check_output(output / name, reads=reads)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {output}: {error.strerror}", remedy="choose another folder with -o") from error
    for name, text in files.items():
        write_output(output / name, text, reads=reads)
        yield output / name


def write_output(path: Path, text: str, *, reads: Iterable[Path]) -> None:
    """Write what a command renders, whole or not at all; `reads` is what the command reads.

    Raises:
        UsageError: the file cannot be written, or is one that `check_output` refuses.
    """
    check_output(path, reads=reads)
    try:
        written_files.write_text(path, text)
    except UnicodeEncodeError as error:
        raise UsageError(
            f"cannot write {path}: a name in it is not UTF-8", remedy="rename that file or folder"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", remedy="choose another file with -o") from error


def check_output(path: Path, *, reads: Iterable[Path]) -> None:
    """Refuse an output that would replace a file of a study, or one that the command reads.

    Raises:
        UsageError: naming the file.
    """
    target = Path(os.path.realpath(path))
    kept = [target.parent / name for name in _STUDY_FILES]
    is_study = any(os.path.lexists(file) for file in kept[:_N_MARKS])
    if is_study and (target in kept or any(_is_same(target, file) for file in kept)):
        raise UsageError(f"{path} is a file of the study in {target.parent}", remedy="choose another name with -o")
    for source in reads:
        files = [source / name for name in _STUDY_FILES] if is_folder(source) else [source]
        if any(_is_same(target, file) for file in files):
            raise UsageError(f"{path} is read by this command", remedy="choose another name with -o")


def _is_same(one: Path, other: Path) -> bool:
    """Say whether two names are of one regular file, also where upper and lower case are the same."""
    try:
        return one.is_file() and one.samefile(other)
    except OSError:
        return False
