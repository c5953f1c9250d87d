"""Paths of model files on the machine that serves them, and file names that a format cannot hold."""

from itertools import combinations

from layertune.errors import UsageError
from layertune.results.result import Result

MODELS_DIR = "/models"  # as in the case study


def model_path(result: Result, name: str, models_dir: str) -> str:
    """Return the path of a model's file.

    Raises:
        UsageError: no text file can hold it.
    """
    path = f"{models_dir.rstrip('/')}/{result.models[name].file}"
    if "\0" in path or not is_unicode(path):
        raise cannot_hold(path, "a text file", "bytes that are not UTF-8")
    return path


def check_names(result: Result) -> None:
    """Check that models with different files have different file names: all of them are served from one folder.

    Raises:
        UsageError: two of them have the same.
    """
    for (one, model), (other, another) in combinations(result.models.items(), 2):
        if model.file == another.file and model.sha256 != another.sha256:
            raise UsageError(
                f"{one} and {other} were measured with different files called {model.file}, and an export serves all "
                "files from one folder",
                remedy="rename one of them, and search again",
            )


def cannot_hold(path: str, where: str, without: str) -> UsageError:
    return UsageError(f"{where} cannot hold the file name {path!r}", remedy=f"rename the model file without {without}")


def is_unicode(text: str) -> bool:
    """Return whether a text is valid Unicode; Python reads bytes that are not UTF-8 as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def is_plain(text: str) -> bool:
    """Return whether a text has only characters without a special meaning: letters, digits and `._/+-`."""
    return all(char.isalnum() or char in "._/+-" for char in text)
