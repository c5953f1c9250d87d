"""Paths of model files on the machine that serves them, and file names that a format cannot hold."""

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


def cannot_hold(path: str, where: str, without: str) -> UsageError:
    return UsageError(f"{where} cannot hold the file name {path!r}", remedy=f"rename the model file without {without}")


def is_unicode(text: str) -> bool:
    """Return whether a text is valid Unicode; Python reads bytes that are not UTF-8 as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def is_plain(text: str) -> bool:
    """Return whether a text has only characters without a special meaning: letters, digits and `._/+-`."""
    return all(char.isalnum() or char in "._/+-" for char in text)
