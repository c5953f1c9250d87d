"""Files of an earlier search in a study's folder that this search could not write again."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from layertune.errors import ResultFileError, StorageError
from layertune.export.env import is_planned
from layertune.regular_files import is_there
from layertune.results.result import FILE_NAME, read_result


def keep_earlier(
    folder: Path,
    written: Collection[str],
    finished: Collection[int],
    warn: Callable[[str], None],
    *,
    begins_anew: bool,
) -> None:
    """Rename the files that the search is about to write if they hold more than it could write, and say so.

    This happens after a power cut that emptied the journal, or where the files belong to another study.

    Args:
        written: the names of the files.
        finished: the numbers of the study's finished trials.
        warn: called with a sentence about what was kept.
        begins_anew: the folder had a study, and its storage has no trial of it.

    Raises:
        StorageError: a file cannot be renamed.
    """
    # A recommendation from before the first trial can be made again.
    there = [name for name in written if is_there(folder / name) and not is_planned(folder / name)]
    why = _why(folder, there, finished)
    if why is not None:
        kept = ", ".join(_renamed(folder / name) for name in there)
        warn(f"{why}; what was there is kept as {kept}")
    if begins_anew:
        warn(f"the study in {folder} has no trials: the search begins anew")


def _why(folder: Path, there: Collection[str], finished: Collection[int]) -> str | None:
    if FILE_NAME not in there:
        return f"{folder} has files that are not of this study" if there and not finished else None
    try:
        trials = {trial.number for trial in read_result(folder / FILE_NAME).trials}
    except ResultFileError as error:
        return error.what
    n_lost = len(trials - set(finished))
    return f"the study has lost {n_lost} of the {len(trials)} finished trials in {FILE_NAME}" if n_lost else None


def _renamed(file: Path) -> str:
    """Rename a file to a name that is free."""
    try:
        new = next(name for name in _names(file) if not is_there(name) and not name.is_symlink())
        return file.rename(new).name
    except OSError as error:
        raise StorageError(
            f"cannot rename {file}: {error.strerror}", remedy="check the folder's permissions"
        ) from error


def _names(file: Path) -> Iterator[Path]:
    yield file.with_name(f"{file.name}.old")
    number = 2
    while True:
        yield file.with_name(f"{file.name}.old{number}")
        number += 1
