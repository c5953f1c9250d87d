"""A study's life: opened or resumed, asked and told until something stops it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import TrialState

from layertune.config import Objective
from layertune.config.study import SamplerName
from layertune.errors import Interrupted
from layertune.results.trials import FinishedTrial
from layertune.search.constraints import Limits, check_smallest
from layertune.search.feasible import FeasibleSpace
from layertune.search.identity import open_study, owner_of
from layertune.search.record import Recorder, finished_trials, mend_trials, n_turns, read_settings
from layertune.search.samplers import make_sampler
from layertune.search.space import SearchSpace
from layertune.search.storage import storing
from layertune.settings import SplitSettings
from layertune.trial.runner import TrialRunner

# A sampler that proposes known engines this often in a row has converged on them; an unseen setting comes next.
_MAX_REPEATS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study is about. `identity` is all that must be the same for its figures to be comparable.

    Without `feasible`, nobody knows what fits before it is loaded.
    """

    name: str
    space: SearchSpace
    objectives: Sequence[Objective]
    limits: Limits
    identity: Mapping[str, str]
    sampler: SamplerName
    seed: int
    n_trials: int
    timeout_s: float | None
    first: Sequence[SplitSettings] = ()
    feasible: FeasibleSpace | None = None


@dataclass(frozen=True, slots=True)
class TrialStarted:
    number: int
    settings: SplitSettings
    n_finished: int


@dataclass(frozen=True, slots=True)
class TrialFinished:
    trial: FinishedTrial
    n_finished: int


Event = TrialStarted | TrialFinished


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
        self._walk = (plan.feasible or plan.space).shuffled(plan.seed)
        self._alone = isinstance(storage, JournalStorage)
        sampler = make_sampler(plan.sampler, plan.seed, turn=0)
        with storing():
            self._study = open_study(storage, plan.name, sampler, plan.objectives, plan.identity)
            self._recorder = Recorder(self._study, storage, plan.objectives, plan.limits, owner_of(folder))
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
        with storing():
            return finished_trials(self._study, self._plan.limits)

    def run(self, runner: TrialRunner, on_event: Callable[[Event], None]) -> str:
        """Run trials until a limit is reached or the space is exhausted; return why it stopped, in words.

        Raises:
            Interrupted: Ctrl-C; every finished trial is kept and the interrupted one is queued again.
            NothingFits: the smallest setting is over the budget.
            StorageError: a trial cannot be written.
        """
        try:
            return self._run(runner, on_event)
        except KeyboardInterrupt as interrupt:
            with storing():
                mend_trials(self._study, self._recorder, alone=self._alone)
                self._learn()
            raise Interrupted(
                f"interrupted after {len(self._known)} trials; all of them are kept", remedy="go on with --resume"
            ) from interrupt

    def _run(self, runner: TrialRunner, on_event: Callable[[Event], None]) -> str:
        plan, space, known = self._plan, self._plan.space, self._known
        deadline_s = None if plan.timeout_s is None else time.monotonic() + plan.timeout_s
        smallest = space.canonical(space.smallest())
        n_repeats = 0
        while True:
            with storing():
                self._learn()
                if plan.feasible is not None and not known:
                    plan.feasible.check()
                if smallest in known:
                    check_smallest(known[smallest], plan.limits)
                if len(known) >= plan.n_trials:
                    return f"all {plan.n_trials} trials are done"
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    return "the time is up"
                walking = plan.sampler == "grid" or n_repeats >= _MAX_REPEATS or len(known) >= self._n_settings()
                if walking and not self._enqueue_unseen():
                    return "every setting that can fit has been tried"
                number, settings, settled = self._ask()
            if settled:
                n_repeats += 1
                continue
            n_repeats = 0
            on_event(TrialStarted(number, settings, len(known)))
            outcome = runner.run(settings)
            with storing():
                finished = self._recorder.finish(number, settings, outcome, None)
                self._learn()
            on_event(TrialFinished(finished, len(known)))

    def _ask(self) -> tuple[int, SplitSettings, bool]:
        """Return the next trial and what it runs, and whether it is settled: known, not possible or too large."""
        plan, space = self._plan, self._plan.space
        self._study.sampler = make_sampler(plan.sampler, plan.seed, n_turns(self._study))
        trial = self._study.ask(space.distributions())
        settings = space.canonical(space.settings(trial.params))
        self._recorder.begin(trial, settings)
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
