"""What a study is asked for next: what is queued, what a sampler proposes, or in the end what nobody has tried."""

import time
from collections.abc import Mapping

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import TrialState

from layertune.results.trials import FinishedTrial
from layertune.sampler.distributions import distributions
from layertune.sampler.layer_split import LayerSplitSampler
from layertune.sampler.proposer import Proposer
from layertune.search.recorder import OUTCOME_KEY, Recorder, n_turns, original_numbers, read_settings
from layertune.search.samplers import SamplerFactory, sampler_of
from layertune.search.task import SearchTask
from layertune.settings import SplitSettings

# A sampler that proposes known engines this often in a row has converged on them; an unseen setting comes next.
_MAX_REPEATS = 20

# A machine stores what a trial runs within milliseconds of asking for it; one that was killed in between never does.
_PATIENCE_S = 2.0
_POLL_S = 0.05


class TrialQueue:
    """Asks one study; `known` are its finished trials by their settings, and grows as they finish. `make_sampler` makes
    the samplers other than layer-split. `alone` says that nobody else asks it."""

    def __init__(
        self,
        task: SearchTask,
        study: Study,
        recorder: Recorder,
        known: Mapping[SplitSettings, FinishedTrial],
        make_sampler: SamplerFactory,
        *,
        alone: bool,
    ) -> None:
        self._task = task
        self._make_sampler = make_sampler
        self._study = study
        self._recorder = recorder
        self._known = known
        self._alone = alone
        self._silent: set[int] = set()  # trials that were waited for in vain
        self._proposer = None
        if task.sampler == "layer-split" and task.feasible is not None:
            self._proposer = Proposer(
                task.space, task.feasible, task.objectives, task.workloads, task.floors, task.prior
            )
        self._walk = (task.feasible or task.space).shuffled(task.seed)

    def queue_first(self) -> None:
        """Queue what the plan wants first, but for what a study cut off before has queued or run."""
        space = self._task.space
        queued = {
            space.canonical(space.settings(trial.system_attrs["fixed_params"]))
            for trial in self._study.get_trials(deepcopy=False)
            if "fixed_params" in trial.system_attrs
        }
        for settings in self._task.initial_design:
            engines = space.canonical(settings)
            if engines not in queued and engines not in self._known:
                queued.add(engines)
                self._study.enqueue_trial(space.params(settings))

    def has_queued(self) -> bool:
        """Say whether a trial waits that was asked for already: one of the first, or one that was interrupted."""
        return bool(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def ask(self) -> tuple[int, SplitSettings] | None:
        """Return the number of the next trial and what it runs; None once every setting that can fit has been tried.

        What needs no run, because it is known, not possible or too large, is told to the study at once.
        """
        n_repeats = 0
        all_known = len(self._known) >= self._n_settings()
        while True:
            if (all_known or n_repeats >= _MAX_REPEATS) and not self._queue_unseen():
                return None
            number, settings, settled = self._ask()
            if not settled:
                return number, settings
            n_repeats += 1

    def _ask(self) -> tuple[int, SplitSettings, bool]:
        """Return the next trial and what it runs, and whether it is settled: known, not possible or too large."""
        task, space = self._task, self._task.space
        sampler = self._study.sampler = self._sampler()
        trial = self._study.ask(distributions(space))
        settings = space.canonical(space.settings(trial.params))
        proposal = sampler.proposal if isinstance(sampler, LayerSplitSampler) else None
        self._recorder.begin(trial, settings, None if proposal is None else proposal.outlook)
        same, feasible = self._known.get(settings), task.feasible
        impossible = settings.impossible() if feasible is None else feasible.refused(settings)
        planned = {} if feasible is None or impossible is not None else feasible.violations(settings)
        too_large = any(excess > 0 for excess in planned.values())
        twin = None
        if same is not None:
            self._recorder.finish(trial.number, settings, same.outcome, same.number)
        elif impossible is not None:
            self._recorder.reject(trial.number, impossible)
        elif too_large:
            self._recorder.rule_out(trial.number, planned)
        elif not self._alone and (twin := self._twin(trial.number, settings)) is not None:
            self._recorder.give_way(trial.number, twin)
        settled = same is not None or impossible is not None or too_large or twin is not None
        return trial.number, settings, settled

    def _twin(self, number: int, settings: SplitSettings) -> int | None:
        """Return the earlier trial that runs these settings, or has just run them, on another machine.

        Two machines that ask in the same moment may be told the same, since the same trials lead to the same proposal.
        Of two such trials the earlier one runs: what this one runs is stored by now, and an earlier one whose settings
        are not stored yet is waited for.
        """
        started_s = time.monotonic()
        while True:
            earlier = [each for each in self._study.get_trials(deepcopy=False) if each.number < number]
            for each in earlier:
                runs = each.state == TrialState.RUNNING or OUTCOME_KEY in each.user_attrs
                if runs and read_settings(each) == settings:
                    return each.number
            running = [each for each in earlier if each.state == TrialState.RUNNING and each.number not in self._silent]
            undecided = {each.number for each in running if read_settings(each) is None}
            if not undecided:
                return None
            if time.monotonic() - started_s > _PATIENCE_S:
                self._silent |= undecided
            time.sleep(_POLL_S)

    def _sampler(self) -> BaseSampler:
        task, turn = self._task, n_turns(self._study)
        if self._proposer is None:
            return sampler_of(self._make_sampler, task.seed, turn)
        places = original_numbers(self._study)
        finished = sorted(self._known.values(), key=lambda each: places[each.number])
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = [settings for trial in running if (settings := read_settings(trial)) is not None]
        return LayerSplitSampler(task.space, self._proposer, finished, others, task.seed, turn)

    def _n_settings(self) -> int:
        return self._task.space.n_settings() if self._task.feasible is None else self._task.feasible.n_settings()

    def _queue_unseen(self) -> bool:
        """Queue a setting whose engines nobody has run or is running, unless others wait; say whether one is left.

        They come in a seeded random order, from a walk that passes each setting of the space once.
        """
        if self.has_queued():
            return True
        space = self._task.space
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        taken = self._known.keys() | {settings for trial in running if (settings := read_settings(trial)) is not None}
        unseen = next((each for each in self._walk if space.canonical(each) not in taken), None)
        if unseen is not None:
            self._study.enqueue_trial(space.params(unseen))
        return unseen is not None
