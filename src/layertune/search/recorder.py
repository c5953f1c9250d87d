"""Writes the trials of a study, in an order that survives a kill between any two writes.

ask       the trial is RUNNING, with its parameters, its settings and its owner
outcome   one attribute with everything measured; from here on the trial is never run again
limits    the constraints
tell      COMPLETE with values, PRUNED (infeasible) or FAIL

These trials are told without being run:

- PRUNED with constraints: llama.cpp would refuse the settings, or their planned memory exceeds a limit.
- FAIL: another machine runs the same settings already. FAIL has no constraints, and no sampler learns from it.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from pydantic import TypeAdapter

from layertune.config import Floor, Objective
from layertune.results.trials import FinishedTrial, objective_value
from layertune.sampler.stopping import StoppingValue
from layertune.search.sharing import Sharing
from layertune.search.stored_trials import (
    IMPOSSIBLE,
    INTERRUPTED,
    NUMBER,
    OUTCOME_KEY,
    OUTLOOK,
    OWNER,
    PLANNED,
    RESUMES,
    SAME_AS,
    SETTINGS,
    YIELDED_TO,
    read_attribute,
    read_trial,
)
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.trial.outcome import OUTCOME, Infeasible, Measured, TrialOutcome

# What optuna-dashboard 0.21 reads. Optuna itself has one attribute for each constraint and counts these as further
# ones, the same for every trial: which of two trials violates more stays as it is.
_DASHBOARD_CONSTRAINTS = "constraints"

_EXCESS: TypeAdapter[Mapping[str, float]] = TypeAdapter(dict[str, float])


class Recorder:
    """Writes the trials of one study; `owner` marks the trials of this study folder."""

    def __init__(
        self,
        study: Study,
        storage: BaseStorage,
        objectives: Sequence[Objective],
        limits: Limits,
        owner: str,
        floors: Sequence[Floor] = (),
    ) -> None:
        self._study = study
        self._storage = storage
        self._objectives = tuple(objectives)
        self.limits = limits
        self._floors = tuple(floors)
        self.owner = owner

    def begin(self, trial: Trial, settings: SplitSettings, stopping_value: StoppingValue | None = None) -> None:
        """Store what a trial that was just asked for runs, and its owner."""
        trial.set_user_attr(OWNER, self.owner)
        if stopping_value is not None:
            trial.set_user_attr(OUTLOOK, asdict(stopping_value))
        trial.set_user_attr(SETTINGS, settings.as_dict())

    def reject(self, number: int, why: str) -> None:
        """Tell a trial whose settings llama.cpp would refuse; `why` is the reason."""
        trial = self._trial(number)
        trial.set_user_attr(IMPOSSIBLE, why)
        self._constrain(trial, {IMPOSSIBLE: 1.0})
        self._study.tell(number, state=TrialState.PRUNED)

    def rule_out(self, number: int, violations: Mapping[str, float]) -> None:
        """Tell a trial whose planned memory exceeds a limit; `violations` are the bytes over each limit."""
        trial = self._trial(number)
        trial.set_user_attr(PLANNED, dict(violations))
        self._constrain(trial, violations)
        self._study.tell(number, state=TrialState.PRUNED)

    def yield_to(self, number: int, duplicate: int) -> None:
        """Tell a trial whose settings another machine runs already, as trial `duplicate`."""
        self._trial(number).set_user_attr(YIELDED_TO, duplicate)
        self._study.tell(number, state=TrialState.FAIL)

    def finish(self, number: int, settings: SplitSettings, outcome: TrialOutcome, same_as: int | None) -> FinishedTrial:
        """Make a trial's outcome durable, then tell it."""
        trial = self._trial(number)
        if same_as is not None:
            trial.set_user_attr(SAME_AS, same_as)
        trial.set_user_attr(OUTCOME_KEY, json.loads(OUTCOME.dump_json(outcome)))
        return self.tell(number, settings, outcome)

    def tell(self, number: int, settings: SplitSettings, outcome: TrialOutcome) -> FinishedTrial:
        """Tell a trial whose outcome is durable. Every trial gets its constraints first."""
        trial = self._trial(number)
        violations = self.limits.violations(settings, outcome)
        finished = FinishedTrial.of(number, settings, outcome, violations)
        if isinstance(outcome, Measured):
            below = {str(floor): floor.shortfall(objective_value(floor.objective, finished)) for floor in self._floors}
            self._constrain(trial, violations | below)
            self._study.tell(number, [objective_value(objective, finished) for objective in self._objectives])
        else:
            # No sampler learns from FAIL. PRUNED with a violated constraint keeps it away from these settings.
            self._constrain(trial, violations)
            infeasible = isinstance(outcome, Infeasible)
            self._study.tell(number, state=TrialState.PRUNED if infeasible else TrialState.FAIL)
        return finished

    def interrupt(self, number: int) -> None:
        """Tell a trial FAIL that was interrupted, and queue its settings again."""
        trial = self._trial(number)
        trial.set_user_attr(OWNER, self.owner)
        trial.set_user_attr(INTERRUPTED, True)
        self._study.tell(number, state=TrialState.FAIL)
        self.requeue(self._study.trials[number])

    def take_over(self, number: int) -> None:
        """Interrupt a trial without an owner. If another machine does so in the same moment, that machine queues it."""
        with suppress(UpdateFinishedTrialError, ValueError):  # what Optuna raises if the trial was told already
            self.interrupt(number)

    def requeue(self, trial: FrozenTrial) -> None:
        """Queue the settings of an interrupted trial, together with its stopping value.

        A trial that was interrupted before it had all its parameters has no settings; nothing is queued then.
        """
        params = trial.system_attrs.get("fixed_params", trial.params if SETTINGS in trial.user_attrs else None)
        if params is not None:
            kept = {key: value for key, value in trial.user_attrs.items() if key == OUTLOOK}
            self._study.add_trial(
                create_trial(
                    state=TrialState.WAITING,
                    user_attrs={RESUMES: trial.number} | kept,
                    system_attrs=trial.system_attrs | {"fixed_params": params},
                )
            )

    def _constrain(self, trial: Trial, violations: Mapping[str, float]) -> None:
        for name, excess in violations.items():
            if name not in trial.constraints:
                trial.set_constraint(name, excess)
        if violations:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id(), trial.number)
            self._storage.set_trial_system_attr(trial_id, _DASHBOARD_CONSTRAINTS, list(violations.values()))

    def _trial(self, number: int) -> Trial:
        return Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(self._study_id(), number))

    def _study_id(self) -> int:
        return self._storage.get_study_id_from_name(self._study.study_name)


def repair_trials(study: Study, recorder: Recorder, sharing: Sharing) -> None:
    """Complete what a killed process left behind.

    A trial that was measured is told its outcome. Any other trial that was running is told FAIL, and its settings are
    queued again, once.
    """
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if not sharing.is_ours(trial):
            continue
        found = read_trial(trial, recorder.limits)
        if found is not None:
            recorder.tell(trial.number, *found)
        elif IMPOSSIBLE in trial.user_attrs:
            recorder.reject(trial.number, str(trial.user_attrs[IMPOSSIBLE]))
        elif PLANNED in trial.user_attrs:
            recorder.rule_out(trial.number, read_attribute(_EXCESS, trial, PLANNED))
        elif YIELDED_TO in trial.user_attrs:
            recorder.yield_to(trial.number, read_attribute(NUMBER, trial, YIELDED_TO))
        else:
            recorder.interrupt(trial.number)
    trials = study.get_trials(deepcopy=False)
    resumed = {trial.user_attrs.get(RESUMES) for trial in trials}
    for trial in trials:
        attributes = trial.user_attrs
        if INTERRUPTED in attributes and attributes.get(OWNER) == recorder.owner and trial.number not in resumed:
            recorder.requeue(trial)
