"""Where the model files are on the machine that serves them, and names that a format cannot hold."""

from layertune.errors import UsageError
from layertune.results.result import Result

MODELS_DIR = "/models"  # the worksheet's


def model_path(result: Result, name: str, models_dir: str) -> str:
    """Return the path of a model's file.

    Raises:
        UsageError: no text file can hold it.
    """
    path = f"{models_dir.rstrip('/')}/{result.models[name].file}"
    if "\0" in path or not is_unicode(path):
        raise cannot_hold(path, "a text file", "characters that are no UTF-8")
    return path


def cannot_hold(path: str, where: str, without: str) -> UsageError:
    return UsageError(
        f"the file name {path!r} cannot stand in {where}", remedy=f"rename the model file without {without}"
    )


def is_unicode(text: str) -> bool:
    """Halves of characters are how Python reads the bytes of a name that is no UTF-8."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def is_plain(text: str) -> bool:
    """Say whether a text holds only what no reader has a second meaning for: letters, digits and `._/+-`."""
    return all(char.isalnum() or char in "._/+-" for char in text)
