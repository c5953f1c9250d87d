"""A study's life: opened or resumed, asked and told until something stops it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import TrialState

from layertune.errors import Interrupted
from layertune.results.bounds import bounds, clearly_beaten
from layertune.results.drift import Reference, worst_drift
from layertune.results.trials import FinishedTrial
from layertune.search.attempts import measure_in_quiet
from layertune.search.constraints import check_smallest
from layertune.search.deadline import Deadline
from layertune.search.finals import MIN_ROUNDS, Finals, finalists
from layertune.search.identity import open_study, owner_of
from layertune.search.outlook import why_stop
from layertune.search.plan import Event, Plan, ReferenceMeasured, TrialFinished, TrialStarted
from layertune.search.prepared import PreparedRunner
from layertune.search.record import Recorder, finished_trials, mend_trials, n_turns, read_outlooks, read_settings
from layertune.search.samplers import make_sampler
from layertune.search.split_sampler import LayerSplitSampler, proposer
from layertune.search.storage import storing
from layertune.search.study_record import StudyRecord, with_rounds
from layertune.settings import SplitSettings
from layertune.trial.messages import Progress
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.runner import TrialRunner

# A sampler that proposes known engines this often in a row has converged on them; an unseen setting comes next.
_MAX_REPEATS = 20


class Search:
    """One study, opened by the process that holds its folder's lock."""

    def __init__(self, plan: Plan, storage: BaseStorage, folder: Path) -> None:
        """Create the study, or take up the one that the storage has.

        Raises:
            StudyMismatch: it was made on other hardware, models, settings or another llama.cpp.
            StorageError: the storage cannot be read.
            UsageError: the sampler needs a package that is not installed.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._plan = plan
        self._proposer = proposer(plan)
        self._walk = (plan.feasible or plan.space).shuffled(plan.seed)
        self._alone = isinstance(storage, JournalStorage)
        sampler = make_sampler(plan.sampler, plan.seed, turn=0)
        with storing():
            self._study = open_study(storage, plan.name, sampler, plan.objectives, plan.identity)
            self._recorder = Recorder(self._study, storage, plan.objectives, plan.limits, owner_of(folder), plan.floors)
            self._record = StudyRecord(self._study)
            mend_trials(self._study, self._recorder, alone=self._alone)
            self._known: dict[SplitSettings, FinishedTrial] = {}
            self._read: set[int] = set()
            self._learn()
            self._enqueue_first()

    def created(self) -> datetime:
        """Return when the first trial began, now where none has; a study that is resumed keeps its date."""
        with storing():
            begun = [each.datetime_start for each in self._study.get_trials(deepcopy=False) if each.datetime_start]
        return min(begun, default=datetime.now()).astimezone(UTC)  # Optuna's times are local and say no zone

    def finished(self) -> list[FinishedTrial]:
        """Return the study's trials in order, with the finals over them once these say enough of every finalist."""
        limits, n_rounds = self._plan.limits, min(MIN_ROUNDS, self._plan.measuring.finals.n_rounds)
        with storing():
            trials = finished_trials(self._study, limits)
        rounds = self._record.rounds(len(trials))
        if any(len(rounds.get(finalist.number, {})) < n_rounds for finalist in self._finalists(trials)):
            return trials
        return [with_rounds(trial, rounds.get(trial.number, {}), limits) for trial in trials]

    def _finalists(self, trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
        plan = self._plan
        n_most = plan.measuring.finals.n_finalists
        return finalists(trials, plan.objectives, plan.baselines, n_most, plan.floors, plan.weights)

    def references(self) -> list[Reference]:
        return self._record.references()

    def run(self, runner: TrialRunner, on_event: Callable[[Event], None]) -> str:
        """Run trials until a limit is reached or the space is exhausted, then the finals; return why the trials
        stopped, in words.

        Raises:
            Interrupted: Ctrl-C; every finished trial is kept and the interrupted one is queued again.
            NothingFits: the smallest setting is over the budget.
            StorageError: a trial cannot be written.
        """
        try:
            watch = Deadline(self._plan.timeout_s, self._plan.measuring.finals.n_rounds > 0)
            prepared = PreparedRunner(runner, self._plan.measuring.reference)
            why = self._run_trials(prepared, on_event, watch)
            self._hold_finals(prepared, on_event, watch)
            return why
        except KeyboardInterrupt as interrupt:
            with storing():
                mend_trials(self._study, self._recorder, alone=self._alone)
                self._learn()
            raise Interrupted(
                f"interrupted after {len(self._known)} trials; all of them are kept", remedy="go on with --resume"
            ) from interrupt

    def _run_trials(self, runner: TrialRunner, on_event: Callable[[Event], None], watch: Deadline) -> str:
        plan, space, known = self._plan, self._plan.space, self._known
        smallest = space.canonical(space.smallest())
        n_repeats = 0
        while True:
            with storing():
                self._learn()
                if plan.feasible is not None and not known:
                    plan.feasible.check()
                if smallest in known:
                    check_smallest(known[smallest], plan.limits)
                outlooks = read_outlooks(self._study)
                if len(known) >= plan.n_trials:
                    return "; ".join([f"all {plan.n_trials} trials are done", *map(str, outlooks[-1:])])
                if watch.trials_are_over():
                    return "; ".join(["the time is up", *map(str, outlooks[-1:])])
                if enough := why_stop(outlooks):
                    return enough
                walking = plan.sampler == "grid" or n_repeats >= _MAX_REPEATS or len(known) >= self._n_settings()
                if walking and not self._enqueue_unseen():
                    return "every setting that can fit has been tried"
                number, settings, settled = self._ask()
            if settled:
                n_repeats += 1
                continue
            n_repeats = 0
            self._measure_reference(runner, on_event)
            on_event(TrialStarted(number, settings, len(known)))
            outcome = self._measure(runner, number, settings)
            with storing():
                finished = self._recorder.finish(number, settings, outcome, None)
                self._learn()
            on_event(TrialFinished(finished, len(known)))

    def _measure(self, runner: TrialRunner, number: int, settings: SplitSettings) -> TrialOutcome:
        """Measure a trial in quiet, and only as long as it may still be on the front."""
        measuring, objectives, known = self._plan.measuring, self._plan.objectives, list(self._known.values())

        def give_up(progress: Progress) -> str | None:
            mine = bounds(objectives, settings, progress.models, progress.used_bytes or 0)
            better = clearly_beaten(mine, known, objectives)
            return None if better is None else f"clearly beaten by trial {better.number}"

        keep = partial(self._record.add_disturbed, str(number))
        return measure_in_quiet(runner, settings, measuring.effort, measuring.n_attempts, keep, give_up)

    def _measure_reference(self, runner: TrialRunner, on_event: Callable[[Event], None]) -> None:
        """Now and then look whether the machine is still the same."""
        measuring, n_trials = self._plan.measuring, len(self._known)
        reference = measuring.reference
        if reference is None or measuring.n_between == 0 or n_trials % measuring.n_between != 0:
            return
        if any(each.n_trials == n_trials for each in self._record.references()):
            return
        keep = partial(self._record.add_disturbed, f"reference {n_trials}")
        outcome = measure_in_quiet(runner, reference, measuring.effort, measuring.n_attempts, keep)
        if isinstance(outcome, Measured):
            self._record.add_reference(n_trials, outcome)
            on_event(ReferenceMeasured(worst_drift(self._record.references())))

    def _hold_finals(self, runner: TrialRunner, on_event: Callable[[Event], None], watch: Deadline) -> None:
        with storing():
            trials = finished_trials(self._study, self._plan.limits)
        finals = Finals(self._plan.measuring, self._record, len(trials), self._plan.seed)
        finals.hold(self._finalists(trials), runner, on_event, watch.is_over)

    def _ask(self) -> tuple[int, SplitSettings, bool]:
        """Return the next trial and what it runs, and whether it is settled: known, not possible or too large."""
        plan, space = self._plan, self._plan.space
        sampler = self._study.sampler = self._sampler()
        trial = self._study.ask(space.distributions())
        settings = space.canonical(space.settings(trial.params))
        proposal = sampler.proposal if isinstance(sampler, LayerSplitSampler) else None
        self._recorder.begin(trial, settings, None if proposal is None else proposal.outlook)
        same, feasible = self._known.get(settings), plan.feasible
        impossible = settings.impossible() if feasible is None else feasible.refused(settings)
        planned = {} if feasible is None or impossible is not None else feasible.violations(settings)
        too_large = any(excess > 0 for excess in planned.values())
        if same is not None:
            self._recorder.finish(trial.number, settings, same.outcome, same.number)
        elif impossible is not None:
            self._recorder.reject(trial.number, impossible)
        elif too_large:
            self._recorder.rule_out(trial.number, planned)
        return trial.number, settings, same is not None or impossible is not None or too_large

    def _sampler(self) -> BaseSampler:
        plan, turn = self._plan, n_turns(self._study)
        if self._proposer is None:
            return make_sampler(plan.sampler, plan.seed, turn)
        finished = sorted(self._known.values(), key=lambda each: each.number)
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = [settings for trial in running if (settings := read_settings(trial)) is not None]
        return LayerSplitSampler(plan.space, self._proposer, finished, others, plan.seed, turn)

    def _n_settings(self) -> int:
        return self._plan.space.n_settings() if self._plan.feasible is None else self._plan.feasible.n_settings()

    def _learn(self) -> None:
        """Read what finished since the last time, other machines' trials in a shared storage among it."""
        learned = False
        for trial in finished_trials(self._study, self._plan.limits, beyond=self._read):
            self._read.add(trial.number)
            self._known.setdefault(trial.settings, trial)
            learned = True
        if learned and self._plan.feasible is not None:
            self._plan.feasible.learn(list(self._known.values()))

    def _enqueue_first(self) -> None:
        """Queue what the plan wants first, but for what a study cut off before has queued or run."""
        space = self._plan.space
        queued = {
            space.canonical(space.settings(trial.system_attrs["fixed_params"]))
            for trial in self._study.get_trials(deepcopy=False)
            if "fixed_params" in trial.system_attrs
        }
        for settings in self._plan.first:
            engines = space.canonical(settings)
            if engines not in queued and engines not in self._known:
                queued.add(engines)
                self._study.enqueue_trial(space.params(settings))

    def _enqueue_unseen(self) -> bool:
        """Queue a setting whose engines nobody has run or is running, unless others wait; say whether one is left.

        They come in a seeded random order, from a walk that passes each setting of the space once.
        """
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
        if any(trial.state == TrialState.WAITING for trial in trials):
            return True
        space = self._plan.space
        taken = self._known.keys() | {settings for trial in trials if (settings := read_settings(trial)) is not None}
        unseen = next((settings for settings in self._walk if space.canonical(settings) not in taken), None)
        if unseen is not None:
            self._study.enqueue_trial(space.params(unseen))
        return unseen is not None
