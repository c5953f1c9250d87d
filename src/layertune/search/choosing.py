"""The choice of one study, from its trials and everything that is stored of their rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from layertune.results.choice import Choice
from layertune.results.estimates import Estimates
from layertune.results.trials import FinishedTrial, feasible_trials
from layertune.sampler.posterior import ModelEngines
from layertune.sampler.selection import speed_priors
from layertune.search.finals import Contest, to_validate, validation_of
from layertune.search.study_record import Rounds, StudyRecord, with_rounds, with_validation
from layertune.search.task import SearchTask

# Validation runs of both that are compared, before these count.
_LEAST_RUNS = 3

# A contender is dropped once measuring it is expected to gain less than this share of the target spread.
_DROPPED_BELOW = 0.2


class Choosing:
    """Chooses the front and the picks of one study, and what is measured again for it.

    Args:
        task: what is searched.
        record: the stored rounds.
        models: the engines of every model; empty if memory cannot be planned.
    """

    def __init__(self, task: SearchTask, record: StudyRecord, models: Mapping[str, ModelEngines]) -> None:
        self._task = task
        self._record = record
        self._models = models
        self._contest: Contest | None = None

    def conclude(self, trials: Sequence[FinishedTrial]) -> tuple[list[FinishedTrial], Choice]:
        """Return the trials with all measurements that count, and the choice among them.

        Finals count once every contender has its first round. Validation runs count once the pick and the best baseline
        have enough of them.
        """
        contest = self.contest(trials)
        rounds = self._rounds(contest)
        held, known, choice = self._held(contest, rounds)
        return self._validated(held, known, choice) if self._task.schedule.n_confirming > 0 else held, choice

    def contest(self, trials: Sequence[FinishedTrial]) -> Contest:
        """Return what the finals after these trials decide."""
        task, feasible = self._task, feasible_trials(trials)
        if self._contest is None or list(self._contest.trials) != list(trials):
            least_gain = task.schedule.finals_effort.target_spread * _DROPPED_BELOW
            priors = speed_priors(self._models, trials, feasible)
            self._contest = Contest(tuple(trials), feasible, priors, task.weights, least_gain, task.limits)
        return self._contest

    def finals_ahead(self, trials: Sequence[FinishedTrial]) -> tuple[int, float]:
        """Return how many settings the finals after these trials would measure in their first round, and the relative
        noise of one measurement."""
        contest = self.contest(trials)
        n = len(self.contenders(contest)) if self._task.schedule.n_rounds > 0 else 0
        noise = max((each.noise for each in contest.priors.values()), default=0.0)
        return (n if n > 1 else 0), noise

    def contenders(self, contest: Contest) -> list[FinishedTrial]:
        """Return what the first round of the finals measures."""
        return contest.contenders(self.choose(contest, {}), self._task.baselines, self._task.schedule.n_finalists)

    def choose(self, contest: Contest, rounds: Rounds) -> Choice:
        """Return the choice after these rounds of the finals."""
        return self._choose(contest.held(contest.trials, rounds), contest.estimates(rounds))

    def to_validate(self, trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
        """Return what the validation runs measure."""
        contest = self.contest(trials)
        return self._to_validate(*self._held(contest, self._rounds(contest)))

    def _to_validate(self, held: Sequence[FinishedTrial], known: Estimates, choice: Choice) -> list[FinishedTrial]:
        task = self._task
        if task.schedule.n_rounds == 0:  # the search's own measurements are trusted
            return []
        return to_validate(held, choice, task.baselines, known, task.weights)

    def _rounds(self, contest: Contest) -> Rounds:
        """Return the stored rounds of the finals, if every contender has its first one."""
        rounds = self._record.rounds("finals", str(len(contest.trials)))
        complete = rounds and all(0 in rounds.get(each.number, {}) for each in self.contenders(contest))
        return rounds if complete else {}

    def _held(self, contest: Contest, rounds: Rounds) -> tuple[list[FinishedTrial], Estimates, Choice]:
        """Return all trials with these rounds, what is known of the speeds, and the choice."""
        runs = self._record.validations(len(contest.trials))
        limits = self._task.limits
        held = [
            with_rounds(each, limits, rounds.get(each.number, {}), runs.get(each.number, ())) for each in contest.trials
        ]
        known = contest.estimates(rounds)
        return held, known, self._choose(held, known)

    def _validated(self, held: list[FinishedTrial], known: Estimates, choice: Choice) -> list[FinishedTrial]:
        """Return trials with their validation runs if both that are validated have enough of them, since they are
        compared in the same runs."""
        chosen = self._to_validate(held, known, choice)
        rounds = self._record.rounds("validation", validation_of(len(held), chosen))
        n_least = min(_LEAST_RUNS, self._task.schedule.n_confirming)
        validated = {
            trial.number: with_validation(trial, rounds.get(trial.number, {}))
            for trial in chosen
            if len(rounds.get(trial.number, {})) >= n_least
        }
        if not all(trial.number in validated and validated[trial.number].rounds("validation") for trial in chosen):
            return held
        return [validated.get(trial.number, trial) for trial in held]

    def _choose(self, trials: Sequence[FinishedTrial], known: Estimates) -> Choice:
        task = self._task
        margin = task.schedule.finals_effort.target_spread
        choice = Choice.of(trials, task.objectives, task.floors, task.weights, margin, known)
        if not task.reference_files:
            return choice
        best = [each for each in trials if self._loads_references(each)]
        among = Choice.of(best, task.objectives, task.floors, task.weights, None, known)
        return replace(choice, reference_picks=among.picks)

    def _loads_references(self, trial: FinishedTrial) -> bool:
        return all(
            getattr(trial.settings[model], field) == value
            for model, fields in self._task.reference_files.items()
            for field, value in fields.items()
        )
