"""What the storage has of each trial: the names of its attributes, and how they are read."""

from collections.abc import Collection

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from layertune.results.trials import FinishedTrial
from layertune.sampler.stopping import StoppingValue
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.limits import Limits
from layertune.trial.outcome import OUTCOME, TrialOutcome

# Attributes of a trial, as they are on disk.
OWNER, SETTINGS, OUTCOME_KEY, SAME_AS = "owner", "settings", "outcome", "same_as"
INTERRUPTED, RESUMES = "interrupted", "resumes"
IMPOSSIBLE, PLANNED, OUTLOOK, YIELDED_TO = "impossible", "planned", "outlook", "gave_way"

_NOT_RUN = frozenset({INTERRUPTED, YIELDED_TO})
_SETTINGS: TypeAdapter[dict[str, EngineSettings]] = TypeAdapter(dict[str, EngineSettings])


def read_trial(trial: FrozenTrial) -> tuple[SplitSettings, TrialOutcome] | None:
    """Return the settings and the outcome of a trial; None if it has no outcome yet."""
    settings = read_settings(trial)
    if settings is None or OUTCOME_KEY not in trial.user_attrs:
        return None
    return settings, OUTCOME.validate_python(trial.user_attrs[OUTCOME_KEY])


def read_settings(trial: FrozenTrial) -> SplitSettings | None:
    """Return the settings that a trial runs; None if they are not stored yet."""
    stored = trial.user_attrs.get(SETTINGS)
    return None if stored is None else SplitSettings.of(_SETTINGS.validate_python(stored))


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
        stored = read_trial(trial)
        if stored is not None:
            finished.append(FinishedTrial.of(trial.number, *stored, limits.violations(stored[1])))
    return finished


def stopping_values(study: Study) -> list[StoppingValue]:
    """Return the stopping values of all proposals whose trials have ended, in order."""
    ended = [trial.user_attrs for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return [StoppingValue(**each[OUTLOOK]) for each in ended if OUTLOOK in each and each.keys().isdisjoint(_NOT_RUN)]


def original_numbers(study: Study) -> dict[int, int]:
    """Return the number of each trial, or that of the interrupted trial which it repeats."""
    numbers: dict[int, int] = {}
    for trial in study.get_trials(deepcopy=False):
        numbers[trial.number] = numbers.get(trial.user_attrs.get(RESUMES, trial.number), trial.number)
    return numbers


def n_asked(study: Study) -> int:
    """Return how many trials were asked for and not interrupted, so that a resumed study counts on from there."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state != TrialState.WAITING and INTERRUPTED not in trial.user_attrs for trial in trials)
