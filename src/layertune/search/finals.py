"""The finals and the validation runs: candidates measured again, so that the choice does not rest on luck.

The best of many noisy measurements is partly luck. In each round of the finals every finalist is loaded and measured
anew, in another random order, so that a machine that becomes slower affects all of them; only these speeds choose the
front and the picks. The best of the finals is partly luck, too: what was chosen is measured in validation runs, which
choose nothing, and their speeds are reported.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from layertune.config import Floor, Objective
from layertune.config.objective import with_floors
from layertune.results.bounds import clearly_beaten, trial_bounds
from layertune.results.choice import MIN_ROUNDS, Choice
from layertune.results.statistics import Metric
from layertune.results.trials import FinishedTrial, RoundStage, contenders
from layertune.search.schedule import Schedule
from layertune.search.study_record import Rounds, StudyRecord
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.runners import TrialRunner, measure_undisturbed

# The stages in the seeds of the rounds' orders: a study that is resumed keeps the order of a round.
_SEEDS: dict[RoundStage, str] = {"finals": "finals", "validation": "confirming"}


@dataclass(frozen=True, slots=True)
class RoundMeasured:
    """One trial's measurement in one round, counted from 0; `n_left` measurements are left of the round."""

    stage: RoundStage
    number: int
    n_round: int
    n_left: int
    outcome: TrialOutcome


class Finals:
    """The rounds over the finalists of `n_trials` trials. Rounds that are stored already are not run again."""

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
        """Measure round after round until one of these is true, but MIN_ROUNDS at least:

        - the schedule's number of rounds is reached;
        - the time is up;
        - the choice is decided and, where no validation runs follow, all speeds are known.
        """

        def enough(rounds: Rounds) -> bool:
            return is_decided(rounds) and (self._schedule.n_confirming > 0 or self._are_known(rounds))

        self._hold("finals", str(self._n_trials), finalists, runner, on_round, time_is_up, enough)

    def validate(
        self,
        trials: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
    ) -> None:
        """Measure what the finals chose in the same way, until all speeds are known. Nothing is measured where the time
        is up before the first round."""
        of = validation_of(self._n_trials, trials)
        if not time_is_up() or self._record.rounds("validation", of):
            self._hold("validation", of, trials, runner, on_round, time_is_up, self._are_known)

    def _hold(
        self,
        stage: RoundStage,
        of: str,
        trials: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
        enough: Callable[[Rounds], bool],
    ) -> None:
        settings = {trial.number: trial.settings for trial in trials}
        for n_round in range(self._schedule.n_most(stage)):
            rounds = self._record.rounds(stage, of)
            begun = any(n_round in of_finalist for of_finalist in rounds.values())
            if n_round >= MIN_ROUNDS and not begun and (time_is_up() or enough(rounds)):
                return
            order = round_order(list(settings), n_round, f"{self._seed} {_SEEDS[stage]}")
            missing = [number for number in order if n_round not in rounds.get(number, {})]
            for n_done, number in enumerate(missing, start=1):
                outcome = self._measure(stage, runner, n_round, number, settings[number])
                self._record.add_round(stage, of, n_round, number, outcome)
                on_round(RoundMeasured(stage, number, n_round, len(missing) - n_done, outcome))

    def _are_known(self, rounds: Rounds) -> bool:
        return settled(rounds, self._schedule.finals_effort.target_spread)

    def _measure(
        self, stage: RoundStage, runner: TrialRunner, n_round: int, number: int, settings: SplitSettings
    ) -> TrialOutcome:
        schedule = self._schedule
        # Latencies next to a prefill choose nothing, so only rounds whose speeds are reported measure them.
        beside = n_round < schedule.n_rounds_beside and (stage == "validation" or schedule.n_confirming == 0)
        effort = schedule.finals_effort if beside else replace(schedule.finals_effort, n_beside_prefill=0)
        keep = partial(self._record.add_disturbed_round, stage, number)
        return measure_undisturbed(runner, settings, effort, schedule.n_attempts, keep)


def finalists(
    trials: Sequence[FinishedTrial],
    objectives: Sequence[Objective],
    baselines: Collection[SplitSettings],
    n_most: int,
    floors: Sequence[Floor],
    choice: Choice,
) -> list[FinishedTrial]:
    """Return what is measured again, in the order of their numbers: all baselines that were measured and, up to
    `n_most`, the picks and the front of the search's `choice`, and what noise may have kept off this front."""
    compared = with_floors(objectives, floors)
    feasible = [trial for trial in trials if trial.feasible() is not None]
    picked = set(choice.picks.values())
    on_front = {trial.number for trial in choice.front}
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


def to_validate(
    trials: Sequence[FinishedTrial], choice: Choice, baselines: Collection[SplitSettings]
) -> list[FinishedTrial]:
    """Return what is measured once more after the finals, in the order of their numbers: the front, which has the
    picks, and the baselines, which these are compared with. Nothing without finals, or without a front."""
    shown = {trial.number for trial in choice.front if trial.rounds("finals")}
    compared = {each.number for each in contenders(trials) if each.rounds("finals") and each.settings in baselines}
    return [trial for trial in trials if shown and trial.number in shown | compared]


def validation_of(n_trials: int, trials: Sequence[FinishedTrial]) -> str:
    """Name the validation runs of what the finals over `n_trials` trials chose. Another choice has its own, so that all
    that is reported was measured in the same rounds."""
    return f"{n_trials}:{','.join(str(trial.number) for trial in trials)}"


def round_order(numbers: Sequence[int], n_round: int, seed: str) -> list[int]:
    """Return the trials' numbers in the order in which a round measures them."""
    return random.Random(f"{seed} {n_round}").sample(list(numbers), len(numbers))


def settled(rounds: Mapping[int, Mapping[int, TrialOutcome]], target_spread: float) -> bool:
    """Return whether every trial's speeds are known to within ± `target_spread`, relative; `rounds` by trial."""
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
    """Return the product of the models' speeds, in which a fast model counts no more than a slow one."""
    return prod(metric.median for name in trial.settings if (metric := trial.metric(name, "tokens_per_s")))
