"""Whether a stored study is this one: made on the same hardware, models and settings. And whose a trial is."""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.study import Study

from layertune.config import Objective
from layertune.errors import StorageError, StudyMismatch
from layertune.search.folder import OWNER_NAME
from layertune.search.samplers import accepting_experimental
from layertune.written_files import write_text

_IDENTITY, _CREATED = "identity", "created"
_OWNER = re.compile(rb"[0-9a-f]{32}")


def open_study(
    storage: BaseStorage, name: str, sampler: BaseSampler, objectives: Sequence[Objective], identity: Mapping[str, str]
) -> Study:
    """Create the study with this identity, or take up the one that the storage has.

    Raises:
        StudyMismatch: the stored one has another identity, or is not layertune's.
        StorageError: it cannot be read.
    """
    _check_only_study(storage, name)
    try:
        with accepting_experimental():
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=sampler,
                directions=[objective.direction for objective in objectives],
                load_if_exists=True,
            )
    except (KeyError, ValueError, optuna.exceptions.OptunaError) as error:
        raise StorageError(f"the study {name} cannot be read: {error}", remedy="restore it from a copy") from error
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise StudyMismatch(f"the storage has a study {name} that is not layertune's", remedy="choose another name")
        if len(study.directions) != len(objectives):
            raise StudyMismatch(f"the study {name} has other objectives", remedy="start another study with --study DIR")
        with accepting_experimental():
            study.set_metric_names([objective.name for objective in objectives])
        study.set_user_attr(_CREATED, datetime.now(UTC).isoformat())
        study.set_user_attr(_IDENTITY, dict(identity))
    elif stored != identity:
        raise StudyMismatch(_differences(stored, identity), remedy="start another study with --study DIR")
    return study


def created(study: Study) -> datetime:
    """Return when a study was created. One of an older layertune says when its trials began, in the local time of the
    machine that ran each: taken as the local time of this one."""
    if _CREATED in study.user_attrs:
        return datetime.fromisoformat(study.user_attrs[_CREATED])
    begun = [each.datetime_start for each in study.get_trials(deepcopy=False) if each.datetime_start]
    return min(begun).astimezone(UTC) if begun else datetime.now(UTC)


def owner_of(folder: Path) -> str:
    """Return what marks this folder's trials in a storage that other machines write too; written once.

    Raises:
        StorageError: the folder has another file of that name.
        OSError: the file cannot be read or written.
    """
    file = folder / OWNER_NAME
    try:
        written = file.read_bytes().strip(b"\0\n")  # a power cut leaves a file empty or full of zeros
    except FileNotFoundError:
        written = b""
    if not written:
        owner = uuid.uuid4().hex
        write_text(file, owner)
        return owner
    if not _OWNER.fullmatch(written):
        raise StorageError(f"{file} does not name a study's owner", remedy="choose another folder with --study DIR")
    return written.decode()


def _check_only_study(storage: BaseStorage, name: str) -> None:
    """A folder's journal holds one study: a second one in it would not be found by its name."""
    if not isinstance(storage, JournalStorage):
        return
    names = optuna.get_all_study_names(storage)
    if names and name not in names:
        raise StudyMismatch(
            f"the study in this folder is called {names[0]}, and the config says {name}",
            remedy="use the same name, or start another study with --study DIR",
        )


def _differences(stored: Mapping[str, str], now: Mapping[str, str]) -> str:
    keys = [key for key in {**stored, **now} if stored.get(key) != now.get(key)]
    changes = "; ".join(f"{key} was {stored.get(key, 'not set')} and is {now.get(key, 'not set')}" for key in keys)
    return f"the study was made under other conditions: {changes}"
