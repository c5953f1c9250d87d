"""The search of a study: opened or resumed, trial after trial until something stops it, then the finals."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from layertune.config.objective import with_floors
from layertune.errors import Interrupted, ModelFileError
from layertune.results.bounds import bounds, clearly_beaten
from layertune.results.choice import Choice
from layertune.results.drift import Reference, worst_drift
from layertune.results.result import Result
from layertune.results.trials import FinishedTrial
from layertune.sampler.posterior import model_engines
from layertune.sampler.stopping import StoppingValue, why_stop
from layertune.search.choosing import Choosing
from layertune.search.deadline import Deadline
from layertune.search.finals import Finals, validation_of
from layertune.search.identity import created, open_study
from layertune.search.recorder import Recorder, repair_trials
from layertune.search.samplers import SamplerFactory, sampler_factory, sampler_of
from layertune.search.sharing import sharing_of
from layertune.search.storage import storing
from layertune.search.stored_trials import finished_trials, stopping_values
from layertune.search.study_record import Rounds, StudyRecord
from layertune.search.task import Event, ReferenceMeasured, SearchTask, TrialFinished, TrialStarted
from layertune.search.trial_queue import TrialQueue
from layertune.settings import SplitSettings
from layertune.space.feasible import learned_correction
from layertune.space.least import LeastSettings
from layertune.space.limits import has_fitted, is_too_large, nothing_fits
from layertune.trial.messages import Progress
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.runners import PreparedRunner, TrialRunner, measure_undisturbed


class Search:
    """The search of one study, by the process that holds the study folder's lock.

    Attributes:
        task: what is searched.
        is_new: whether the storage had no trial when the search was opened.
        slowest_s: returns the longest that a run of each model's workload may take; see `TrialQueue`.
        feasible: the settings that fit, as far as the search has learned; None if memory cannot be planned.
    """

    def __init__(
        self, task: SearchTask, storage: BaseStorage, folder: Path, make_sampler: SamplerFactory | None = None
    ) -> None:
        """Create the study, or resume the one that the storage has.

        Args:
            task: what is searched.
            storage: where the trials are.
            folder: the study folder, which this process has locked.
            make_sampler: used instead of the sampler that the task names.

        Raises:
            StudyMismatch: it was made on other hardware, models, settings or another llama.cpp.
            StorageError: the storage cannot be read.
            UsageError: the sampler needs a package that is not installed.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.task = task
        make_sampler = make_sampler or sampler_factory(task.sampler)
        sampler = sampler_of(make_sampler, task.seed, 0)
        with storing():
            self._sharing = sharing_of(storage, folder)
            self._study = open_study(storage, self._sharing, task.name, sampler, task.objectives, task.identity)
            owner = self._sharing.owner
            self._recorder = Recorder(self._study, storage, task.objectives, task.limits, owner, task.floors)
            self._record = StudyRecord(self._study, self._sharing.mark)
            self.is_new = not self._study.get_trials(deepcopy=False)
            repair_trials(self._study, self._recorder, self._sharing)
            self.feasible = task.feasible
            self._known: dict[SplitSettings, FinishedTrial] = {}
            self._finished: dict[int, FinishedTrial] = {}
            self._learn()
            self._chosen_from: list[FinishedTrial] | None = None
            models = (
                {}
                if task.feasible is None or not task.workloads
                else model_engines(task.space, task.feasible, task.workloads, task.prior)
            )
            self._choosing = Choosing(task, self._record, models)
            self._queue = TrialQueue(
                task, self._study, self._recorder, self._sharing, self._known, make_sampler, models
            )
            self.slowest_s = self._queue.slowest_s
            self._queue.queue_initial_design()

    def created(self) -> datetime:
        """Return when the study was created; a resumed study keeps its date."""
        with storing():
            return created(self._study)

    def finished(self) -> list[FinishedTrial]:
        """Return the study's trials in order, with all measurements that count; see `concluded`."""
        return self.concluded()[0]

    def concluded(self) -> tuple[list[FinishedTrial], Choice]:
        """Return the study's trials in order, and the choice among them; see `Choosing.conclude`.

        After the finals, the trials are those that the contenders were chosen from. Trials that another machine
        finishes meanwhile are left to that machine's finals.
        """
        trials = self._chosen_from
        return self._choosing.conclude(self._trials_so_far() if trials is None else trials)

    def _trials_so_far(self) -> list[FinishedTrial]:
        return [self._finished[number] for number in sorted(self._finished)]

    def publish(self, result: Result) -> None:
        """Store the result with a study that other machines share; see `Sharing.publish`."""
        with storing():
            self._sharing.publish(self._study, result)

    def references(self) -> list[Reference]:
        """Return the reference measurements, in order."""
        return self._record.references()

    def stopping_values(self) -> list[StoppingValue]:
        """Return the stopping values of layer-split's proposals, in order."""
        with storing():
            return stopping_values(self._study)

    def run(self, runner: TrialRunner, on_event: Callable[[Event], None]) -> str:
        """Run trials until a limit is reached or no setting is left, then the finals.

        Returns:
            Why the trials stopped, as a sentence.

        Raises:
            Interrupted: Ctrl-C; every finished trial is kept and the interrupted one is queued again.
            NothingFits: nothing has fitted, and every setting left needs at least as much as one that did not.
            StorageError: a trial cannot be written.
            ModelFileError: a model file was changed; every finished trial is kept and the one that ran is queued again.
        """
        try:
            schedule = self.task.schedule
            watch = Deadline(
                self.task.timeout_s, with_finals=schedule.n_rounds > 0, with_validation=schedule.n_confirming > 0
            )
            prepared = PreparedRunner(runner, self.task.schedule.reference)
            why = self._run_trials(prepared, on_event, watch)
            self._hold_finals(prepared, on_event, watch)
            return why
        except ModelFileError:
            self._repair()
            raise
        except KeyboardInterrupt as interrupt:
            self._repair()
            raise Interrupted(
                f"interrupted after {len(self._known)} trials; all of them are kept", remedy="go on with --resume"
            ) from interrupt

    def _repair(self) -> None:
        """Queue the interrupted trial again."""
        with storing():
            repair_trials(self._study, self._recorder, self._sharing)
            self._learn()

    def _run_trials(self, runner: TrialRunner, on_event: Callable[[Event], None], watch: Deadline) -> str:
        known = self._known
        while True:
            with storing():
                self._take_over_abandoned()
                self._learn()
                if self.feasible is not None and not known:
                    self.feasible.check()
                self._seek_what_fits()
                why = self._why_over(watch)
                if why is not None:
                    return why
                asked = self._queue.ask(self.feasible)
            if asked is None:
                return "every setting that can fit has been tried"
            number, settings = asked
            self._measure_reference(runner, on_event)
            on_event(TrialStarted(number, settings, len(known)))
            outcome = self._measure(runner, number, settings)
            with storing():
                finished = self._recorder.finish(number, settings, outcome, None)
                self._learn()
            n_contenders, noise = self._choosing.finals_ahead(self._trials_so_far())
            on_event(TrialFinished(finished, len(known), self.concluded()[1].picks, n_contenders, noise))

    def _why_over(self, watch: Deadline) -> str | None:
        """Return why the trials are over; None if they are not. The last one is for the best baseline, if need be."""
        task, n_known = self.task, len(self._known)
        values = stopping_values(self._study) if task.sampler == "layer-split" else []
        if n_known >= task.n_trials:
            return "; ".join([f"all {task.n_trials} trials are done", *map(str, values[-1:])])
        if watch.trials_are_over():
            return "; ".join(["the time is up", *map(str, values[-1:])])
        if self._queue.has_queued():
            return None
        enough = why_stop(values) if task.early_stop else None
        is_last = enough is not None or n_known == task.n_trials - 1
        return None if is_last and self._queue.queue_baseline(self.feasible) else enough

    def _seek_what_fits(self) -> None:
        """While nothing has fitted, queue the smallest setting that no refusal speaks against.

        Raises:
            NothingFits: there is none.
        """
        trials, limits = list(self._known.values()), self.task.limits
        too_large = [trial for trial in trials if is_too_large(trial, limits)]
        if not too_large or any(map(has_fitted, trials)):
            return
        capacities = self.feasible.capacities if self.feasible is not None and limits.vram else None
        left = self._least.left((trial.settings for trial in too_large), capacities)
        if left is None:
            raise nothing_fits(min(too_large, key=lambda trial: self._least.needs(trial.settings).order), limits)
        if self.task.space.canonical(left) not in self._known and not self._queue.has_queued():
            self._queue.put(left)

    @cached_property
    def _least(self) -> LeastSettings:
        return LeastSettings(self.task.space, self.task.feasible)

    def _measure(self, runner: TrialRunner, number: int, settings: SplitSettings) -> TrialOutcome:
        """Measure a trial, again if something disturbed it, and only as long as it may still be on the front."""
        schedule, known = self.task.schedule, list(self._known.values())
        objectives = with_floors(self.task.objectives, self.task.floors)

        def give_up(progress: Progress) -> str | None:
            mine = bounds(objectives, settings, progress.models, progress.used_bytes or 0)
            better = clearly_beaten(mine, known, objectives)
            return None if better is None else f"clearly beaten by trial {better.number}"

        keep = partial(self._record.add_disturbed, str(number))
        return measure_undisturbed(runner, settings, schedule.effort, schedule.n_attempts_after(known), keep, give_up)

    def _measure_reference(self, runner: TrialRunner, on_event: Callable[[Event], None]) -> None:
        """Measure the reference again if enough trials have finished since the last time."""
        schedule, n_trials = self.task.schedule, len(self._known)
        reference = schedule.reference
        if reference is None or schedule.n_between == 0 or n_trials % schedule.n_between != 0:
            return
        if any(each.n_trials == n_trials for each in self._record.references()):
            return
        keep = partial(self._record.add_disturbed, f"reference {n_trials}")
        effort = replace(schedule.effort, at_depth={})
        outcome = measure_undisturbed(runner, reference, effort, schedule.n_attempts, keep)
        if isinstance(outcome, Measured):
            self._record.add_reference(n_trials, outcome)
            on_event(ReferenceMeasured(worst_drift(self._record.references())))

    def _hold_finals(self, runner: TrialRunner, on_event: Callable[[Event], None], watch: Deadline) -> None:
        with storing():
            trials = self._chosen_from = finished_trials(self._study, self.task.limits)
        finals, choosing = Finals(self.task.schedule, self._record, len(trials), self.task.seed), self._choosing
        contest = choosing.contest(trials)
        contenders = choosing.contenders(contest)

        def left(rounds: Rounds) -> set[int]:
            return contest.left(choosing.choose(contest, rounds), contenders, rounds)

        finals.hold(contenders, runner, on_event, watch.finals_are_over, left)
        chosen, validated = choosing.to_validate(trials), None
        while (of := validation_of(len(trials), chosen)) != validated:
            finals.validate(chosen, runner, on_event, watch.is_over)
            # A validation run that exceeds a limit changes the choice.
            chosen, validated = choosing.to_validate(trials), of

    def _take_over_abandoned(self) -> None:
        for number in self._sharing.abandoned(self._study):
            self._recorder.take_over(number)

    def _learn(self) -> None:
        """Read the trials of all machines that finished since the last call, and correct the memory plan."""
        learned = False
        for trial in finished_trials(self._study, self.task.limits, beyond=self._finished):
            self._finished[trial.number] = trial
            self._known.setdefault(trial.settings, trial)
            learned = True
        if learned and self.task.feasible is not None:
            correction = learned_correction(self.task.feasible.planner, list(self._known.values()), self.task.limits)
            self.feasible = self.task.feasible if correction is None else self.task.feasible.corrected(correction)
