"""What the storage has of each trial: the names of its attributes, and how they are read."""

from collections.abc import Collection

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from layertune.results.trials import FinishedTrial
from layertune.sampler.stopping import StoppingValue
from layertune.search.stored import T, check_models, foreign, stored, stored_outcome, stored_settings
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.trial.outcome import TrialOutcome

# Attributes of a trial, as they are on disk.
OWNER, SETTINGS, OUTCOME_KEY, SAME_AS = "owner", "settings", "outcome", "same_as"
INTERRUPTED, RESUMES = "interrupted", "resumes"
IMPOSSIBLE, PLANNED, OUTLOOK, YIELDED_TO = "impossible", "planned", "outlook", "gave_way"

_FIXED_PARAMS = "fixed_params"  # Optuna's own name for what enqueue_trial was given
_NOT_RUN = frozenset({INTERRUPTED, YIELDED_TO})
NUMBER, _STOPPING = TypeAdapter(int), TypeAdapter(StoppingValue)


def read_trial(trial: FrozenTrial, limits: Limits) -> tuple[SplitSettings, TrialOutcome] | None:
    """Return the settings and the outcome of a trial; None if it has no outcome yet.

    Raises:
        StorageError: as all that reads the storage here: it has something that layertune has not written.
    """
    settings = read_settings(trial)
    if settings is None or OUTCOME_KEY not in trial.user_attrs:
        return None
    if not all(limits.has_model(*each) for each in settings.items()) or len(settings) != limits.n_models:
        raise foreign(_name_of(trial, SETTINGS))
    outcome = stored_outcome(trial.user_attrs[OUTCOME_KEY], _name_of(trial, OUTCOME_KEY))
    check_models(settings, outcome, limits, _name_of(trial, OUTCOME_KEY))
    return settings, outcome


def read_settings(trial: FrozenTrial) -> SplitSettings | None:
    """Return the settings that a trial runs; None if they are not stored yet."""
    written = trial.user_attrs.get(SETTINGS)
    return None if written is None else stored_settings(written, _name_of(trial, SETTINGS))


def read_attribute(adapter: TypeAdapter[T], trial: FrozenTrial, key: str) -> T:
    """Return an attribute of a trial, which must be there."""
    return stored(adapter, trial.user_attrs[key], _name_of(trial, key))


def _name_of(trial: FrozenTrial, key: str) -> str:
    return f"an attribute {key} of trial {trial.number}"


def queued_settings(study: Study, space: SearchSpace) -> list[SplitSettings]:
    """Return the settings of all trials that were ever queued.

    Raises:
        StorageError: a queued trial has values that the space does not have.
    """
    found = []
    for trial in study.get_trials(deepcopy=False):
        params = trial.system_attrs.get(_FIXED_PARAMS, {})
        if not isinstance(params, dict) or any(
            each.name in params and params[each.name] not in each.values for each in space.searched
        ):
            raise foreign(_name_of(trial, _FIXED_PARAMS))
        if _FIXED_PARAMS in trial.system_attrs:
            found.append(space.settings(params))
    return found


def running_settings(study: Study) -> list[SplitSettings]:
    """Return what the running trials of all machines run, as far as it is stored."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [settings for trial in running if (settings := read_settings(trial)) is not None]


def finished_trials(study: Study, limits: Limits, beyond: Collection[int] = ()) -> list[FinishedTrial]:
    """Return the study's finished trials in order, without those that only repeat another trial's engines.

    Args:
        study: the stored study.
        limits: what the outcomes are compared with.
        beyond: numbers of trials to leave out, since the caller has them already.
    """
    finished = []
    for trial in study.get_trials(deepcopy=False):
        if trial.number in beyond or SAME_AS in trial.user_attrs or not trial.state.is_finished():
            continue
        found = read_trial(trial, limits)
        if found is not None:
            finished.append(FinishedTrial.of(trial.number, *found, limits.violations(*found)))
    return finished


def stopping_values(study: Study) -> list[StoppingValue]:
    """Return the stopping values of all proposals whose trials have ended, in order."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    run = [trial for trial in ended if trial.user_attrs.keys().isdisjoint(_NOT_RUN)]
    return [read_attribute(_STOPPING, trial, OUTLOOK) for trial in run if OUTLOOK in trial.user_attrs]


def original_numbers(study: Study) -> dict[int, int]:
    """Return the number of each trial, or that of the interrupted trial which it repeats."""
    numbers: dict[int, int] = {}
    for trial in study.get_trials(deepcopy=False):
        resumes = read_attribute(NUMBER, trial, RESUMES) if RESUMES in trial.user_attrs else trial.number
        numbers[trial.number] = numbers.get(resumes, trial.number)
    return numbers


def n_asked(study: Study) -> int:
    """Return how many trials were asked for and not interrupted, so that a resumed study counts on from there."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state != TrialState.WAITING and INTERRUPTED not in trial.user_attrs for trial in trials)
