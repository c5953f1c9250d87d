"""Whether a stored study is this one: made on the same hardware, with the same models and settings."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from pydantic import TypeAdapter

from layertune.config import Objective
from layertune.errors import StorageError, StudyMismatch
from layertune.search.samplers import accepting_experimental
from layertune.search.sharing import Sharing
from layertune.search.stored import stored

_IDENTITY, _CREATED = "identity", "created"
_TIME, _TEXTS = TypeAdapter(datetime), TypeAdapter(dict[str, str])


def open_study(
    storage: BaseStorage,
    sharing: Sharing,
    name: str,
    sampler: BaseSampler,
    objectives: Sequence[Objective],
    identity: Mapping[str, str],
) -> Study:
    """Create the study with this identity, or open the one that the storage has.

    Raises:
        StudyMismatch: the stored one has another identity, or is not layertune's.
        StorageError: it cannot be read.
    """
    sharing.check_name(name, optuna.get_all_study_names(storage))
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
    known = study.user_attrs.get(_IDENTITY)
    if known is None:
        if study.get_trials(deepcopy=False):
            raise StudyMismatch(f"the storage has a study {name} that is not layertune's", remedy="choose another name")
        if len(study.directions) != len(objectives):
            raise StudyMismatch(f"the study {name} has other objectives", remedy="start another study with --study DIR")
        with accepting_experimental():
            study.set_metric_names([objective.name for objective in objectives])
        study.set_user_attr(_CREATED, datetime.now(UTC).isoformat())
        study.set_user_attr(_IDENTITY, dict(identity))
    elif known != identity:
        known = stored(_TEXTS, known, f"an attribute {_IDENTITY}")
        raise StudyMismatch(_differences(known, identity), remedy="start another study with --study DIR")
    return study


def created(study: Study) -> datetime:
    """Return when a study was created.

    A study of an older layertune has only the times at which its trials began, in the local time of the machine that
    ran each. They are read as this machine's local time.
    """
    if _CREATED in study.user_attrs:
        return stored(_TIME, study.user_attrs[_CREATED], f"an attribute {_CREATED}")
    begun = [each.datetime_start for each in study.get_trials(deepcopy=False) if each.datetime_start]
    return min(begun).astimezone(UTC) if begun else datetime.now(UTC)


def _differences(stored: Mapping[str, str], now: Mapping[str, str]) -> str:
    keys = [key for key in {**stored, **now} if stored.get(key) != now.get(key)]
    changes = "; ".join(f"{key} was {stored.get(key, 'not set')} and is {now.get(key, 'not set')}" for key in keys)
    return f"the study was made under other conditions: {changes}"
