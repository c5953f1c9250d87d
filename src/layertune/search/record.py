"""What a study keeps of each trial, in an order that survives a kill between any two writes.

ask       the trial is RUNNING, with its parameters, its settings and whose it is
outcome   one attribute with everything measured: from here on the trial is never run again
limits    the constraints
tell      COMPLETE with values, PRUNED (infeasible) or FAIL
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import TypeAdapter

from layertune.config import Objective
from layertune.results.objectives import objective_value
from layertune.results.trials import FinishedTrial
from layertune.search.constraints import Limits
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import OUTCOME, Infeasible, Measured, TrialOutcome

OWNER, SETTINGS, OUTCOME_KEY, SAME_AS = "owner", "settings", "outcome", "same_as"
INTERRUPTED, RESUMES = "interrupted", "resumes"

# What optuna-dashboard 0.21 reads; Optuna itself has one attribute for each constraint.
_DASHBOARD_CONSTRAINTS = "constraints"

_SETTINGS: TypeAdapter[dict[str, EngineSettings]] = TypeAdapter(dict[str, EngineSettings])


class Recorder:
    """Writes one study's trials."""

    def __init__(self, study: Study, storage: BaseStorage, objectives: Sequence[Objective], limits: Limits) -> None:
        self._study = study
        self._storage = storage
        self._objectives = tuple(objectives)
        self._limits = limits

    def begin(self, trial: Trial, settings: SplitSettings, owner: str) -> None:
        trial.set_user_attr(OWNER, owner)
        trial.set_user_attr(SETTINGS, settings.as_dict())

    def finish(self, number: int, settings: SplitSettings, outcome: TrialOutcome, same_as: int | None) -> FinishedTrial:
        """Make a trial's outcome durable, then tell it."""
        trial = self._trial(number)
        if same_as is not None:
            trial.set_user_attr(SAME_AS, same_as)
        trial.set_user_attr(OUTCOME_KEY, json.loads(OUTCOME.dump_json(outcome)))
        return self.tell(number, settings, outcome)

    def tell(self, number: int, settings: SplitSettings, outcome: TrialOutcome) -> FinishedTrial:
        """Tell a trial whose outcome is durable; its constraints first, on every trial."""
        trial = self._trial(number)
        violations = self._limits.violations(outcome)
        for name, excess in violations.items():
            if name not in trial.constraints:
                trial.set_constraint(name, excess)
        if violations:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id(), number)
            self._storage.set_trial_system_attr(trial_id, _DASHBOARD_CONSTRAINTS, list(violations.values()))
        if isinstance(outcome, Measured):
            values = [objective_value(objective, settings, outcome) for objective in self._objectives]
            self._study.tell(number, values)
        else:
            # FAIL teaches a sampler nothing; PRUNED with a violated constraint says "not here".
            infeasible = isinstance(outcome, Infeasible)
            self._study.tell(number, state=TrialState.PRUNED if infeasible else TrialState.FAIL)
        return FinishedTrial(number, settings, outcome, violations)

    def interrupt(self, number: int) -> None:
        """Tell a trial FAIL that did not come to its end, and queue its settings again."""
        trial = self._trial(number)
        trial.set_user_attr(INTERRUPTED, True)
        self._study.tell(number, state=TrialState.FAIL)
        self.requeue(self._study.trials[number])

    def requeue(self, trial: FrozenTrial) -> None:
        """Queue an interrupted trial's settings; a trial cut off before it had all its parameters has none."""
        params = trial.system_attrs.get("fixed_params") or (trial.params if SETTINGS in trial.user_attrs else None)
        if params is not None:
            self._study.enqueue_trial(params, user_attrs={RESUMES: trial.number})

    def _trial(self, number: int) -> Trial:
        return Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(self._study_id(), number))

    def _study_id(self) -> int:
        return self._storage.get_study_id_from_name(self._study.study_name)


def mend_trials(study: Study, recorder: Recorder, owner: str) -> None:
    """After a kill: finish telling what was measured, tell the rest interrupted, and queue that again, once."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(OWNER, owner) != owner:
            continue
        stored = read_trial(trial)
        if stored is None:
            recorder.interrupt(trial.number)
        else:
            recorder.tell(trial.number, *stored)
    trials = study.get_trials(deepcopy=False)
    resumed = {trial.user_attrs.get(RESUMES) for trial in trials}
    for trial in trials:
        if trial.user_attrs.get(INTERRUPTED) and trial.number not in resumed:
            recorder.requeue(trial)


def read_trial(trial: FrozenTrial) -> tuple[SplitSettings, TrialOutcome] | None:
    """Return what is stored of a trial, None where it has no outcome yet."""
    attributes: Mapping[str, Any] = trial.user_attrs
    if OUTCOME_KEY not in attributes or SETTINGS not in attributes:
        return None
    settings = SplitSettings.of(_SETTINGS.validate_python(attributes[SETTINGS]))
    return settings, OUTCOME.validate_python(attributes[OUTCOME_KEY])


def finished_trials(study: Study, limits: Limits) -> list[FinishedTrial]:
    """Return the study's own trials in order; a trial that only repeats another's engine is left out."""
    finished = []
    for trial in study.get_trials(deepcopy=False):
        stored = read_trial(trial)
        if stored is not None and SAME_AS not in trial.user_attrs and trial.state.is_finished():
            finished.append(FinishedTrial(trial.number, *stored, limits.violations(stored[1])))
    return finished
