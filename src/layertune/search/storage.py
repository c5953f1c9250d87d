"""Where a study is kept: Optuna's journal in the study folder, or any storage that Optuna takes a URL for."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import (  # Optuna passes them on
    ArgumentError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

from layertune.errors import StorageError, StorageUnreachable, UsageError
from layertune.redaction import is_clear, without_password, without_password_of, without_secrets
from layertune.results.result import RESUME
from layertune.search.folder import JOURNAL_NAME

RESULT = "result"  # the study's attribute that has its result.json

# A driver's package, where it is not called as the driver: psycopg alone needs PostgreSQL's own library, too.
_PACKAGES = {"psycopg": '"psycopg[binary]"'}

_REMEDY = "check that it runs and accepts you"

_N_TRIES, _BETWEEN_S = 10, 0.1

_RESTORE = "restore it from a copy, or start another study with --study DIR"
_CREATE_STUDY = 0  # optuna.storages.journal._storage.JournalOperation

# What replaying a journal raises where its records are JSON, but no study's.
_REPLAY_ERRORS = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    optuna.exceptions.OptunaError,
)


def open_journal(folder: Path) -> BaseStorage:
    """Open the folder's journal and repair it after a kill. The caller holds the study lock.

    Raises:
        StorageError: the journal is damaged in its middle, or cannot be read or written.
    """
    journal = folder / JOURNAL_NAME
    try:
        repair_journal(journal)
        # Optuna's own lock next to the journal is left behind by an owner that was killed in a write.
        for left_behind in folder.glob(f"{JOURNAL_NAME}.lock*"):
            if left_behind.suffix in (".lock", ".rename"):
                left_behind.unlink()
        # A lock file: Optuna's default, a link, needs a privilege on Windows.
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal))))
    except OSError as error:
        raise StorageError(
            f"cannot open {journal}: {error.strerror}", remedy="check the folder's permissions"
        ) from error
    except _REPLAY_ERRORS as error:
        raise StorageError(
            f"{journal} is no study that this Optuna ({optuna.__version__}) can read: {error}",
            remedy="use the Optuna that wrote it, or start another study with --study DIR",
        ) from error


def repair_journal(journal: Path) -> None:
    """Cut a journal after its last whole record, since Optuna cannot load a torn line. A power cut may leave zeros.

    Raises:
        StorageError: a line before the last is no record, the beginning is missing, or the file is no journal. A kill
            leaves none of these, and there is something in the file that could not be written again.
    """
    if not journal.exists():
        return
    if not journal.is_file():
        raise StorageError(f"{journal} is not a regular file", remedy="choose another folder with --study DIR")
    with journal.open("r+b") as file:
        whole_bytes, torn, torn_line, has_study = 0, None, b"", False
        for number, line in enumerate(file, start=1):
            if torn is not None:
                raise StorageError(f"{journal} is damaged in line {torn}", remedy=_RESTORE)
            operation = _operation(line)
            if operation is None:
                torn, torn_line = number, line
            else:
                whole_bytes += len(line)
                has_study = has_study or operation == _CREATE_STUDY
        if whole_bytes > 0 and not has_study:
            raise StorageError(f"{journal} has lost its beginning, which names the study", remedy=_RESTORE)
        if whole_bytes == 0 and not _is_torn_record(torn_line):
            raise StorageError(f"{journal} is not a study's journal", remedy="choose another folder with --study DIR")
        if torn is not None:
            file.truncate(whole_bytes)


def open_url(url: str) -> BaseStorage:
    """Open a shared storage.

    Raises:
        UsageError: Optuna does not know this kind of URL, or its driver is not installed.
        StorageUnreachable: the storage does not answer.
        StorageError: another version of Optuna made it.
    """
    shown = without_password(url)
    try:
        return _open(_with_driver(url))
    except ImportError as error:
        # Optuna wraps the import that failed, which names the package.
        driver = error.__cause__.name if isinstance(error.__cause__, ImportError) else None
        how = "" if driver is None else f" with: pip install {_PACKAGES.get(driver, driver)}"
        raise UsageError(f"the storage {shown} needs a driver that is not here", remedy=f"install it{how}") from error
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"{shown} is not a storage URL", remedy="write it like postgresql://host/name") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise StorageUnreachable(
            f"the storage {shown} does not answer: {without_password_of(url, _first_line(error))}",
            remedy=_REMEDY if is_clear(url) else f"{_REMEDY}; write an @, / or : of the password as %40, %2F or %3A",
        ) from error
    except RuntimeError as error:  # Optuna's check of the tables' version
        raise StorageError(
            f"the storage {shown} was made by another version of Optuna",
            remedy="upgrade the older of the two; optuna storage upgrade does it for a storage",
        ) from error


def _open(url: str) -> BaseStorage:
    for _ in range(_N_TRIES):
        # Machines that open a new storage in the same moment: Optuna looks whether a table is there before it makes
        # it, and another machine may do so in between.
        with suppress(IntegrityError, ProgrammingError):
            return _database(url)
        time.sleep(_BETWEEN_S)
    return _database(url)


def _database(url: str) -> BaseStorage:
    # A trial takes minutes, in which a firewall or the server may end a connection that is kept: none is.
    return optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})


def stored_result(url: str, name: str) -> Any:
    """Return what `Search.publish` last put into a shared storage for the study of this name.

    Raises:
        UsageError: there is no such study, or none of its searches has come to an end.
        StorageError: the storage cannot be read.
    """
    storage = open_url(url)
    with storing(remedy=_REMEDY):
        studies = {each.study_name: each.user_attrs for each in optuna.get_all_study_summaries(storage)}
    if name not in studies:
        there = f"it has {', '.join(sorted(studies))}" if studies else "it has none"
        raise UsageError(f"{name} is neither a file here nor a study of the storage", remedy=there)
    if RESULT not in studies[name]:
        raise UsageError(f"no search of {name} in the storage has written its result", remedy="let one end first")
    return studies[name][RESULT]


@contextmanager
def storing(*, remedy: str = RESUME) -> Iterator[None]:
    """Read or write the study inside: what the storage raises becomes one sentence.

    Raises:
        StorageError: the disk is full, the database went away, another process took the trial.
    """
    try:
        yield
    except (OSError, optuna.exceptions.OptunaError, SQLAlchemyError) as error:
        raise StorageError(
            f"the study cannot be read or written: {without_secrets(_first_line(error))}", remedy=remedy
        ) from error


def _is_torn_record(line: bytes) -> bool:
    rest = line.strip(b"\0\n")
    return not rest or (rest.startswith(b"{") and not line.endswith(b"\n"))


def _operation(line: bytes) -> Any:
    """Return which operation a journal's line records, None if it is no whole record."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record.get("op_code") if isinstance(record, dict) and line.endswith(b"\n") else None


def _with_driver(url: str) -> str:
    """Name psycopg 3, which the extra `postgres` installs, where a URL names no driver: SQLAlchemy before 2.1 would
    look for psycopg2."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def _first_line(error: BaseException) -> str:
    """SQLAlchemy's messages go on with the statement and a link."""
    return str(error).partition("\n")[0]
