"""The finals: candidates measured again, fresh and in turns, so that the choice rests on no lucky figure.

Who wins a search has, among other things, been lucky. In each round every finalist is loaded and measured anew, in
another random order, so that a drift of the machine meets them all; front and picks come of these figures only. Who
wins the finals has been lucky in them, too: what is chosen is measured in further rounds, which choose nothing, and
their figures are told.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from layertune.config import Floor, Objective
from layertune.config.objective import with_floors
from layertune.results.bounds import clearly_beaten, trial_bounds
from layertune.results.decided import MIN_ROUNDS
from layertune.results.picks import EQUAL, candidates, choose
from layertune.results.statistics import Metric
from layertune.results.ties import chosen
from layertune.results.trials import FinishedTrial, RoundKind, contenders, front
from layertune.search.schedule import Schedule
from layertune.search.study_record import Rounds, StudyRecord
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.runners import TrialRunner, measure_undisturbed


@dataclass(frozen=True, slots=True)
class RoundMeasured:
    """One finalist's measurement in one round, counted from 0; `n_left` measurements are left of the round."""

    kind: RoundKind
    number: int
    n_round: int
    n_left: int
    outcome: TrialOutcome


class Finals:
    """The rounds over the finalists of `n_trials` trials; those that the record has are not run again."""

    def __init__(self, schedule: Schedule, record: StudyRecord, n_trials: int, seed: int) -> None:
        self._schedule = schedule
        self._record = record
        self._n_trials = n_trials
        self._seed = seed

    def hold(
        self,
        finalists: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
        is_decided: Callable[[Rounds], bool],
    ) -> None:
        """Measure round after round, until the plan's number, until the choice is decided, or until the time is up;
        but MIN_ROUNDS at least. Where no rounds follow, whose figures are told, all speeds must be known, too."""

        def enough(rounds: Rounds) -> bool:
            return is_decided(rounds) and (self._schedule.n_confirming > 0 or self._are_known(rounds))

        self._hold("finals", str(self._n_trials), finalists, runner, on_round, time_is_up, enough)

    def confirm(
        self,
        trials: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
    ) -> None:
        """Do the same with what the finals chose, until all speeds are known well enough; nothing where the time is up
        before the first round."""
        of = confirming_of(self._n_trials, trials)
        if not time_is_up() or self._record.rounds("confirming", of):
            self._hold("confirming", of, trials, runner, on_round, time_is_up, self._are_known)

    def _hold(
        self,
        kind: RoundKind,
        of: str,
        trials: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
        enough: Callable[[Rounds], bool],
    ) -> None:
        settings = {trial.number: trial.settings for trial in trials}
        for n_round in range(self._schedule.n_most(kind)):
            rounds = self._record.rounds(kind, of)
            begun = any(n_round in of_finalist for of_finalist in rounds.values())
            if n_round >= MIN_ROUNDS and not begun and (time_is_up() or enough(rounds)):
                return
            order = turns(list(settings), n_round, f"{self._seed} {kind}")
            missing = [number for number in order if n_round not in rounds.get(number, {})]
            for n_done, number in enumerate(missing, start=1):
                outcome = self._measure(kind, runner, n_round, number, settings[number])
                self._record.add_round(kind, of, n_round, number, outcome)
                on_round(RoundMeasured(kind, number, n_round, len(missing) - n_done, outcome))

    def _are_known(self, rounds: Rounds) -> bool:
        return settled(rounds, self._schedule.finals_effort.target_spread)

    def _measure(
        self, kind: RoundKind, runner: TrialRunner, n_round: int, number: int, settings: SplitSettings
    ) -> TrialOutcome:
        schedule = self._schedule
        # They choose nothing, so only the rounds whose figures are told need them.
        beside = n_round < schedule.n_rounds_beside and (kind == "confirming" or schedule.n_confirming == 0)
        effort = schedule.finals_effort if beside else replace(schedule.finals_effort, n_beside_prefill=0)
        keep = partial(self._record.add_disturbed, f"{kind} {number}")
        return measure_undisturbed(runner, settings, effort, schedule.n_attempts, keep)


def finalists(
    trials: Sequence[FinishedTrial],
    objectives: Sequence[Objective],
    baselines: Collection[SplitSettings],
    n_most: int,
    floors: Sequence[Floor] = (),
    weights: Mapping[str, float] = EQUAL,
) -> list[FinishedTrial]:
    """Return what is measured again, in the order of their numbers.

    All baselines that were measured; then, up to `n_most`, the picks, the front, and what noise may have kept off it.
    """
    compared = with_floors(objectives, floors)
    feasible = [trial for trial in trials if trial.feasible() is not None]
    first = front(feasible, objectives, floors)
    picked = set(choose(candidates(first), weights).values())
    on_front = {trial.number for trial in first}
    near = [
        trial
        for trial in feasible
        if trial.number in picked | on_front
        or clearly_beaten(trial_bounds(compared, trial), feasible, compared) is None
    ]

    def rank(trial: FinishedTrial) -> tuple[bool, bool, float]:
        return trial.number not in picked, trial.number not in on_front, -_speed(trial)

    searched = sorted((trial for trial in near if trial.settings not in baselines), key=rank)[:n_most]
    kept = {trial.number for trial in searched}
    return [trial for trial in feasible if trial.number in kept or trial.settings in baselines]


def to_confirm(
    trials: Sequence[FinishedTrial],
    objectives: Sequence[Objective],
    baselines: Collection[SplitSettings],
    floors: Sequence[Floor] = (),
) -> list[FinishedTrial]:
    """Return what is measured once more after the finals, in the order of their numbers: the front, of which the picks
    are, and the baselines, with which they are compared. Nothing without finals, or without a front."""
    best, _ = chosen(trials, objectives, floors)
    shown = {trial.number for trial in best if trial.rounds}
    compared = {trial.number for trial in contenders(trials) if trial.rounds and trial.settings in baselines}
    return [trial for trial in trials if shown and trial.number in shown | compared]


def confirming_of(n_trials: int, trials: Sequence[FinishedTrial]) -> str:
    """Name the confirming rounds of what the finals over `n_trials` trials chose: of another choice there are others,
    since figures of one round belong to one hour of the machine."""
    return f"{n_trials}:{','.join(str(trial.number) for trial in trials)}"


def turns(numbers: Sequence[int], n_round: int, seed: str) -> list[int]:
    """Return the finalists in the order of a round."""
    return random.Random(f"{seed} {n_round}").sample(list(numbers), len(numbers))


def settled(rounds: Mapping[int, Mapping[int, TrialOutcome]], target_spread: float) -> bool:
    """Say whether every finalist's speeds are known to within ± `target_spread`, relative; `rounds` by finalist."""
    return all(_settled(list(each.values()), target_spread) for each in rounds.values())


def _settled(rounds: Sequence[TrialOutcome], target_spread: float) -> bool:
    measured = [each for each in rounds if isinstance(each, Measured)]
    if len(rounds) < MIN_ROUNDS:
        return False
    for name in measured[0].models if measured else ():
        metric = Metric.of_rounds([each.models[name].samples.tokens_per_s for each in measured])
        if metric.low is None or metric.high is None or (metric.high - metric.low) / 2 > target_spread * metric.median:
            return False
    return True


def _speed(trial: FinishedTrial) -> float:
    """Return the product of the models' speeds: an order in which none counts more for being the faster one."""
    return prod(metric.median for name in trial.settings if (metric := trial.metric(name, "tokens_per_s")))
