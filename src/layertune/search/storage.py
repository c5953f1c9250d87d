"""Where a study is kept: Optuna's journal in the study folder, or any storage that Optuna takes a URL for."""

import json
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import ArgumentError, SQLAlchemyError  # Optuna passes them on

from layertune.errors import StorageError, UsageError

JOURNAL_NAME = "journal.log"


def open_journal(folder: Path) -> BaseStorage:
    """Open the folder's journal, mended after a kill; the caller holds the study lock, so no one else writes.

    Raises:
        StorageError: the journal is damaged in its middle, or cannot be read or written.
    """
    journal = folder / JOURNAL_NAME
    try:
        mend_journal(journal)
        # Optuna's own lock, a link or a file beside the journal, is left behind by a killed owner.
        Path(f"{journal}.lock").unlink(missing_ok=True)
        return JournalStorage(JournalFileBackend(str(journal)))
    except OSError as error:
        raise StorageError(
            f"cannot open {journal}: {error.strerror}", remedy="check the folder's permissions"
        ) from error


def mend_journal(journal: Path) -> None:
    """Cut a journal to its last whole record: Optuna cannot load past a torn line.

    Raises:
        StorageError: a record before the last is no JSON; that is not what a kill leaves.
    """
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        whole_bytes = 0
        torn: int | None = None
        for number, line in enumerate(file, start=1):
            if torn is not None:
                raise StorageError(f"{journal} is damaged in line {torn}", remedy="restore it from a copy")
            if line.endswith(b"\n") and _is_json(line):
                whole_bytes += len(line)
            else:
                torn = number
        if torn is not None:
            file.truncate(whole_bytes)


def open_url(url: str) -> BaseStorage:
    """Open a shared storage.

    Raises:
        UsageError: Optuna does not know this kind of URL, or its driver is not installed.
        StorageError: the storage does not answer.
    """
    try:
        return optuna.storages.RDBStorage(url)
    except ImportError as error:
        raise UsageError(
            f"{url} needs a driver that is not here",
            remedy=f"install it with: pip install {error.name or 'the driver'}",
        ) from error
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"{url} is not a storage URL", remedy="write it like postgresql://host/name") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(f"the storage {url} does not answer", remedy="check that it runs and accepts you") from error


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
