"""Whether a stored study is this one: made on the same hardware, models and settings. And whose a trial is."""

import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study

from layertune.config import Objective
from layertune.errors import StorageError, StudyMismatch
from layertune.search.samplers import accepting_experimental

_IDENTITY, _CREATED = "identity", "created"
_OWNER_FILE = "owner"


def open_study(
    storage: BaseStorage, name: str, sampler: BaseSampler, objectives: Sequence[Objective], identity: Mapping[str, str]
) -> Study:
    """Create the study with this identity, or take up the one that the storage has.

    Raises:
        StudyMismatch: the stored one has another identity, or is not layertune's.
        StorageError: it cannot be read.
    """
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
    """Return what marks this folder's trials in a storage that other machines write too; written once."""
    file = folder / _OWNER_FILE
    if not file.exists():
        part = file.with_name(f"{_OWNER_FILE}.{os.getpid()}.part")
        part.write_text(uuid.uuid4().hex, encoding="ascii")
        part.replace(file)
    return file.read_text(encoding="ascii").strip()


def _differences(stored: Mapping[str, str], now: Mapping[str, str]) -> str:
    keys = [key for key in {**stored, **now} if stored.get(key) != now.get(key)]
    changes = "; ".join(f"{key} was {stored.get(key, 'not set')} and is {now.get(key, 'not set')}" for key in keys)
    return f"the study was made under other conditions: {changes}"
