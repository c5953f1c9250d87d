"""The errors that layertune raises, with their exit status.

    LayertuneError            1  something went wrong; the message says what, where and how to fix it
    ├── UsageError            2  the command line is wrong
    │   └── ConfigError       2  a config file or a key in it is wrong
    ├── ModelFileError        2  a model file is missing, is not a GGUF, is truncated
    ├── DeviceError           2  the requested device does not exist
    │   └── BuildError        2  this llama-cpp-python lacks what the device needs
    ├── StorageError          1  a study's storage cannot be read or written
    │   ├── StudyLocked       1  another layertune is working on this study
    │   ├── StudyMismatch     2  the study was made on other hardware, models or llama.cpp build
    │   └── StorageUnreachable 2  the database of --storage does not answer
    ├── ResultFileError       2  a study folder or result.json cannot be read
    ├── UnlikeStudies         2  the studies to compare measured different models or workloads
    ├── NothingFits           3  no setting of the space fits the budget
    ├── OutputError           1  standard output cannot be written
    ├── VerificationFailed    1  an exported stack differs from what was measured, or a check failed
    └── Interrupted         130  Ctrl-C; all finished trials are kept

Out of memory and a dying worker are outcomes of a trial (`layertune.trial.outcome`), never exceptions.
Exceptions of other libraries are translated in the one room that imports them.
"""

from collections.abc import Iterable
from itertools import islice
from typing import ClassVar

__all__ = [
    "BuildError",
    "ConfigError",
    "DeviceError",
    "Interrupted",
    "LayertuneError",
    "ModelFileError",
    "NothingFits",
    "OutputError",
    "ResultFileError",
    "StorageError",
    "StorageUnreachable",
    "StudyLocked",
    "StudyMismatch",
    "UnlikeStudies",
    "UsageError",
    "VerificationFailed",
]

_MOST_LISTED = 30
_MOST_CHARACTERS = 1000


def listed(names: Iterable[str]) -> str:
    """Return the names for a sentence; if there are many, only the first ones."""
    first = list(islice(names, _MOST_LISTED + 1))
    return ", ".join(first[:_MOST_LISTED]) + (" and more" if len(first) > _MOST_LISTED else "")


def _shortened(words: str) -> str:
    """Return a sentence without its middle if it is very long."""
    if len(words) <= _MOST_CHARACTERS:
        return words
    return f"{words[: _MOST_CHARACTERS // 2]} … {words[-_MOST_CHARACTERS // 2 :]}"


class LayertuneError(Exception):
    """A failure with its remedy. `str(error)` is the sentence that users read."""

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = _shortened(what)
        self.remedy = None if remedy is None else _shortened(remedy)

    def __str__(self) -> str:
        return self.what if self.remedy is None else f"{self.what}; {self.remedy}"


class UsageError(LayertuneError):
    exit_status = 2


class ConfigError(UsageError):
    pass


class ModelFileError(LayertuneError):
    exit_status = 2


class DeviceError(LayertuneError):
    exit_status = 2


class BuildError(DeviceError):
    pass


class StorageError(LayertuneError):
    pass


class StudyLocked(StorageError):
    pass


class StudyMismatch(StorageError):
    exit_status = 2


class StorageUnreachable(StorageError):
    exit_status = 2


class ResultFileError(LayertuneError):
    exit_status = 2


class UnlikeStudies(LayertuneError):
    exit_status = 2


class NothingFits(LayertuneError):
    exit_status = 3


class OutputError(LayertuneError):
    pass


class VerificationFailed(LayertuneError):
    pass


class Interrupted(LayertuneError):
    exit_status = 130
