"""Which trial runs next: one that is queued, one that the sampler proposes, or an untried setting."""

from collections.abc import Mapping

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import TrialState

from layertune.results.trials import FinishedTrial
from layertune.sampler.distributions import distributions
from layertune.sampler.layer_split import LayerSplitSampler
from layertune.sampler.posterior import ModelEngines
from layertune.sampler.proposer import Proposer
from layertune.search.recorder import Recorder
from layertune.search.samplers import SamplerFactory, sampler_of
from layertune.search.sharing import Sharing
from layertune.search.stored_trials import n_asked, original_numbers, queued_settings, running_settings
from layertune.search.task import SearchTask
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace

# A sampler that proposes known engines this often in a row has converged on them; an untried setting comes next.
_MAX_REPEATS = 20


class TrialQueue:
    """Asks a study for its next trials.

    Args:
        task: what is searched.
        study: the stored study.
        recorder: writes its trials.
        sharing: how other machines share it.
        known: the finished trials by their settings; the caller adds to it.
        make_sampler: makes the samplers other than layer-split.
        models: the engines of every model; empty if memory cannot be planned.
    """

    def __init__(
        self,
        task: SearchTask,
        study: Study,
        recorder: Recorder,
        sharing: Sharing,
        known: Mapping[SplitSettings, FinishedTrial],
        make_sampler: SamplerFactory,
        models: Mapping[str, ModelEngines],
    ) -> None:
        self._task = task
        self._make_sampler = make_sampler
        self._study = study
        self._recorder = recorder
        self._sharing = sharing
        self._known = known
        self._proposer = None
        if task.sampler == "layer-split" and models:
            self._proposer = Proposer(models, task.objectives, task.floors)
        self._random_order = (task.feasible or task.space).shuffled(task.seed)

    def queue_initial_design(self) -> None:
        """Queue the initial design, except what is queued already, unless a trial of this study has begun.

        It depends on how fast the memory was when the search began, so a resumed study keeps the one that it has.
        """
        if any(trial.state != TrialState.WAITING for trial in self._study.get_trials(deepcopy=False)):
            return
        space = self._task.space
        queued = {space.canonical(settings) for settings in queued_settings(self._study, space)}
        for settings in self._task.initial_design:
            engines = space.canonical(settings)
            if engines not in queued:
                queued.add(engines)
                self._study.enqueue_trial(space.params(settings))

    def put(self, settings: SplitSettings) -> None:
        """Queue settings to be asked for next."""
        self._study.enqueue_trial(self._task.space.params(settings))

    def queue_baseline(self, feasible: FeasibleSpace | None) -> bool:
        """Queue the best baseline by the trials so far unless it was measured; say whether it was not."""
        if self._proposer is None or feasible is None:
            return False  # all of them are in the initial design
        fitting = [each for each in self._task.baselines if not feasible.exceeded(each)]
        best = self._proposer.best_of(fitting, list(self._known.values()), self._task.weights)
        if best is None or self._task.space.canonical(best) in self._known:
            return False
        self.put(best)
        return True

    def has_queued(self) -> bool:
        """Say whether a trial is queued: one of the initial design, a baseline, or one that was interrupted."""
        return bool(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def slowest_s(self, settings: SplitSettings) -> dict[str, float]:
        """Return by model the longest that one run of its workload may take; empty without a model of time."""
        return {} if self._proposer is None else self._proposer.slowest_s(settings, list(self._known.values()))

    def ask(self, feasible: FeasibleSpace | None) -> tuple[int, SplitSettings] | None:
        """Return the number and the settings of the next trial; None if every setting that can fit has been tried.

        Trials that need no run are told at once: their settings are known, refused by llama.cpp, too large, or run by
        another machine.

        Args:
            feasible: the settings that fit, as far as the search has learned; None if memory cannot be planned.
        """
        n_repeats = 0
        space = self._task.space if feasible is None else feasible
        all_known = len(self._known) >= space.n_settings()
        while True:
            if (all_known or n_repeats >= _MAX_REPEATS) and not self._queue_untried(feasible):
                return None
            number, settings, is_told = self._ask(feasible)
            if not is_told:
                return number, settings
            n_repeats += 1

    def _ask(self, feasible: FeasibleSpace | None) -> tuple[int, SplitSettings, bool]:
        """Return the next trial, its settings, and whether it was told already, without a run."""
        space = self._task.space
        sampler = self._study.sampler = self._sampler(feasible)
        trial = self._study.ask(distributions(space))
        settings = space.canonical(space.settings(trial.params))
        proposal = sampler.proposal if isinstance(sampler, LayerSplitSampler) else None
        self._recorder.begin(trial, settings, None if proposal is None else proposal.stopping_value)
        return trial.number, settings, self._is_told(trial.number, settings, feasible)

    def _is_told(self, number: int, settings: SplitSettings, feasible: FeasibleSpace | None) -> bool:
        """Tell a trial that needs no run; say whether it was one."""
        if (same := self._known.get(settings)) is not None:
            self._recorder.finish(number, settings, same.outcome, same.number)
            return True
        refused = settings.impossible() if feasible is None else feasible.refused(settings)
        if refused is not None:
            self._recorder.reject(number, refused)
            return True
        planned = {} if feasible is None else feasible.violations(settings)
        if any(excess > 0 for excess in planned.values()):
            self._recorder.rule_out(number, planned)
            return True
        duplicate = self._sharing.duplicate(self._study, number, settings)
        if duplicate is not None:
            self._recorder.yield_to(number, duplicate)
        return duplicate is not None

    def _sampler(self, feasible: FeasibleSpace | None) -> BaseSampler:
        task, number = self._task, n_asked(self._study)
        if self._proposer is None or feasible is None:
            return sampler_of(self._make_sampler, task.seed, number)
        originals = original_numbers(self._study)
        finished = sorted(self._known.values(), key=lambda each: originals[each.number])
        running = running_settings(self._study)
        return LayerSplitSampler(task.space, self._proposer, finished, running, feasible.capacities, task.seed, number)

    def _queue_untried(self, feasible: FeasibleSpace | None) -> bool:
        """Queue the next untried setting, in a seeded random order, unless a trial is queued; say whether one is left.

        A setting is untried if no trial has run its engines and no machine runs them at present.
        """
        if self.has_queued():
            return True
        space = self._task.space
        taken = self._known.keys() | set(running_settings(self._study))
        untried = next(
            (
                each
                for each in self._random_order
                if space.canonical(each) not in taken and (feasible is None or not feasible.exceeded(each))
            ),
            None,
        )
        if untried is not None:
            self._study.enqueue_trial(space.params(untried))
        return untried is not None
