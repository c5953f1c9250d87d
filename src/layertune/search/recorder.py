"""What a study keeps of each trial, in an order that survives a kill between any two writes.

ask       the trial is RUNNING, with its parameters, its settings and whose it is
outcome   one attribute with everything measured: from here on the trial is never run again
limits    the constraints
tell      COMPLETE with values, PRUNED (infeasible) or FAIL

A proposal that llama.cpp would refuse whatever the memory, or that does not fit by plan, is told PRUNED with its
constraints, and never run.
A FAIL has no constraint: nothing is known of its memory, and no sampler reads it. In a shared storage a trial whose
settings an earlier one runs on another machine is told FAIL, too, and never run.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from pydantic import TypeAdapter

from layertune.config import Floor, Objective
from layertune.results.trials import FinishedTrial, objective_value
from layertune.sampler.stopping import Outlook
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.limits import Limits
from layertune.trial.outcome import OUTCOME, Infeasible, Measured, TrialOutcome

OWNER, SETTINGS, OUTCOME_KEY, SAME_AS = "owner", "settings", "outcome", "same_as"
INTERRUPTED, RESUMES = "interrupted", "resumes"
IMPOSSIBLE, PLANNED, OUTLOOK, GAVE_WAY = "impossible", "planned", "outlook", "gave_way"

_NOT_RUN = frozenset({INTERRUPTED, GAVE_WAY})

# What optuna-dashboard 0.21 reads. Optuna itself has one attribute for each constraint and counts these as further
# ones, the same for every trial: which of two trials violates more stays as it is.
_DASHBOARD_CONSTRAINTS = "constraints"

_SETTINGS: TypeAdapter[dict[str, EngineSettings]] = TypeAdapter(dict[str, EngineSettings])


class Recorder:
    """Writes one study's trials; `owner` marks those of this study folder in a storage that others write too."""

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
        self._limits = limits
        self._floors = tuple(floors)
        self.owner = owner

    def begin(self, trial: Trial, settings: SplitSettings, outlook: Outlook | None = None) -> None:
        trial.set_user_attr(OWNER, self.owner)
        if outlook is not None:
            trial.set_user_attr(OUTLOOK, asdict(outlook))
        trial.set_user_attr(SETTINGS, settings.as_dict())

    def reject(self, number: int, why: str) -> None:
        """Tell a trial that cannot run; `why` is what llama.cpp would say."""
        trial = self._trial(number)
        trial.set_user_attr(IMPOSSIBLE, why)
        self._constrain(trial, {IMPOSSIBLE: 1.0})
        self._study.tell(number, state=TrialState.PRUNED)

    def rule_out(self, number: int, violations: Mapping[str, float]) -> None:
        """Tell a trial that does not fit by plan; `violations` are the planned bytes over each limit."""
        trial = self._trial(number)
        trial.set_user_attr(PLANNED, dict(violations))
        self._constrain(trial, violations)
        self._study.tell(number, state=TrialState.PRUNED)

    def give_way(self, number: int, twin: int) -> None:
        """Tell a trial that the earlier one `twin` runs on another machine."""
        self._trial(number).set_user_attr(GAVE_WAY, twin)
        self._study.tell(number, state=TrialState.FAIL)

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
        finished = FinishedTrial.of(number, settings, outcome, violations)
        if isinstance(outcome, Measured):
            below = {str(floor): floor.shortfall(objective_value(floor.objective, finished)) for floor in self._floors}
            self._constrain(trial, violations | below)
            self._study.tell(number, [objective_value(objective, finished) for objective in self._objectives])
        else:
            # FAIL teaches a sampler nothing; PRUNED with a violated constraint says "not here".
            self._constrain(trial, violations)
            infeasible = isinstance(outcome, Infeasible)
            self._study.tell(number, state=TrialState.PRUNED if infeasible else TrialState.FAIL)
        return finished

    def interrupt(self, number: int) -> None:
        """Tell a trial FAIL that did not come to its end, and queue its settings again."""
        trial = self._trial(number)
        trial.set_user_attr(OWNER, self.owner)
        trial.set_user_attr(INTERRUPTED, True)
        self._study.tell(number, state=TrialState.FAIL)
        self.requeue(self._study.trials[number])

    def take_over(self, number: int) -> None:
        """Interrupt a trial that nobody claims; another machine that does so in the same moment queues it, then."""
        with suppress(UpdateFinishedTrialError, ValueError):  # Optuna's words for a trial that was told already
            self.interrupt(number)

    def requeue(self, trial: FrozenTrial) -> None:
        """Queue an interrupted trial's settings; a trial cut off before it had all its parameters has none.

        What its sampler noted of the trial goes with them.
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


def mend_trials(study: Study, recorder: Recorder, *, alone: bool) -> None:
    """After a kill: finish telling what was measured, tell the rest interrupted, and queue that again, once.

    `alone` says that nobody else writes this storage.
    """
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if not _is_ours(trial, recorder.owner, alone=alone):
            continue
        stored = read_trial(trial)
        if stored is not None:
            recorder.tell(trial.number, *stored)
        elif IMPOSSIBLE in trial.user_attrs:
            recorder.reject(trial.number, trial.user_attrs[IMPOSSIBLE])
        elif PLANNED in trial.user_attrs:
            recorder.rule_out(trial.number, trial.user_attrs[PLANNED])
        elif GAVE_WAY in trial.user_attrs:
            recorder.give_way(trial.number, trial.user_attrs[GAVE_WAY])
        else:
            recorder.interrupt(trial.number)
    trials = study.get_trials(deepcopy=False)
    resumed = {trial.user_attrs.get(RESUMES) for trial in trials}
    for trial in trials:
        attributes = trial.user_attrs
        if INTERRUPTED in attributes and attributes.get(OWNER) == recorder.owner and trial.number not in resumed:
            recorder.requeue(trial)


def _is_ours(trial: FrozenTrial, owner: str, *, alone: bool) -> bool:
    """Say whose a running trial is; it has no owner between its ask and its first attribute."""
    return alone or bool(trial.user_attrs.get(OWNER) == owner)


def read_trial(trial: FrozenTrial) -> tuple[SplitSettings, TrialOutcome] | None:
    """Return what is stored of a trial, None where it has no outcome yet."""
    settings = read_settings(trial)
    if settings is None or OUTCOME_KEY not in trial.user_attrs:
        return None
    return settings, OUTCOME.validate_python(trial.user_attrs[OUTCOME_KEY])


def read_settings(trial: FrozenTrial) -> SplitSettings | None:
    """Return what a trial runs, None where it was not told yet."""
    stored = trial.user_attrs.get(SETTINGS)
    return None if stored is None else SplitSettings.of(_SETTINGS.validate_python(stored))


def finished_trials(study: Study, limits: Limits, beyond: Collection[int] = ()) -> list[FinishedTrial]:
    """Return the study's own trials in order, without the numbers `beyond` which the caller knows already.

    A trial that only repeats another's engine is left out.
    """
    finished = []
    for trial in study.get_trials(deepcopy=False):
        if trial.number in beyond or SAME_AS in trial.user_attrs or not trial.state.is_finished():
            continue
        stored = read_trial(trial)
        if stored is not None:
            finished.append(FinishedTrial.of(trial.number, *stored, limits.violations(stored[1])))
    return finished


def read_outlooks(study: Study) -> list[Outlook]:
    """Return the outlooks of all proposals that came to an end, in order."""
    ended = [trial.user_attrs for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return [Outlook(**each[OUTLOOK]) for each in ended if OUTLOOK in each and each.keys().isdisjoint(_NOT_RUN)]


def original_numbers(study: Study) -> dict[int, int]:
    """Return each trial's number, or that of the interrupted one that it takes the place of."""
    numbers: dict[int, int] = {}
    for trial in study.get_trials(deepcopy=False):
        numbers[trial.number] = numbers.get(trial.user_attrs.get(RESUMES, trial.number), trial.number)
    return numbers


def n_turns(study: Study) -> int:
    """Return how many trials were asked for and not cut off; a study that goes on after a kill counts on from there."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state != TrialState.WAITING and INTERRUPTED not in trial.user_attrs for trial in trials)
