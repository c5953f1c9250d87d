"""The finals and the validation runs: what is measured again, so that the picks do not rest on luck.

The best of many noisy measurements is partly luck. The finals measure again only what could still change a pick:

1. The contenders are the picks, their rivals and the best baseline, by the posterior of the model of time.
2. In each round every contender that is left is loaded and measured anew, in random order.
3. A contender is dropped as soon as measuring it further is expected to gain next to nothing. The finals end when no
   rival is left, or after the schedule's number of rounds.

What a further measurement may gain is the expected opportunity cost of not picking a rival (Chick and Inoue, New
Two-Stage and Sequential Procedures for Selecting the Best Simulated System, Operations Research 49, 2001). Stopping by
it needs fewer measurements than a fixed number of rounds (Branke, Chick and Schmidt, Selecting a Selection Procedure,
Management Science 53, 2007). `benchmarks/choosing` compares both here.

The winner of the finals is partly luck, too. So the pick and the best baseline are measured in a fixed number of
validation runs, which choose nothing. The difference between the two is reported from these runs alone.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from layertune.results.choice import Choice
from layertune.results.estimates import Estimates
from layertune.results.picks import BALANCED, Weights, contested
from layertune.results.trials import FinishedTrial, RoundStage, feasible_trials
from layertune.sampler.selection import SpeedPrior, estimates, expected_gain
from layertune.search.schedule import Schedule
from layertune.search.study_record import Rounds, StudyRecord, with_rounds
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.trial.outcome import TrialOutcome
from layertune.trial.runners import TrialRunner, measure_undisturbed

# The stages in the seeds of the rounds' orders: a study that is resumed keeps the order of a round.
_SEEDS: dict[RoundStage, str] = {"finals": "finals", "validation": "confirming"}


@dataclass(frozen=True, slots=True)
class RoundMeasured:
    """One trial's measurement in one round, counted from 0.

    `n_left` measurements are left of the round. `n_contenders` settings are measured in it; after its last measurement
    they are those that could still change a pick.
    """

    stage: RoundStage
    number: int
    n_round: int
    n_left: int
    n_contenders: int
    outcome: TrialOutcome


@dataclass(frozen=True)
class Contest:
    """What the finals decide: which of a study's trials is the fastest for each pick.

    Attributes:
        trials: all trials of the search.
        feasible: those that can be picked.
        priors: by model, what the search knows of their speeds.
        weights: by model, how much its speed counts in the balanced pick.
        least_gain: a contender is dropped when measuring it is expected to gain less than this, relative.
        limits: a contender that exceeds one in a round is no longer a contender.
    """

    trials: Sequence[FinishedTrial]
    feasible: Sequence[FinishedTrial]
    priors: Mapping[str, SpeedPrior]
    weights: Weights
    least_gain: float
    limits: Limits

    def estimates(self, rounds: Rounds) -> Estimates:
        """Return what is known of the speeds after these rounds."""
        return estimates(self.held(self.feasible, rounds), self.priors)

    def held(self, trials: Sequence[FinishedTrial], rounds: Rounds) -> list[FinishedTrial]:
        """Return trials with these rounds."""
        return [with_rounds(each, self.limits, rounds.get(each.number, {})) for each in trials]

    def contenders(self, choice: Choice, baselines: Collection[SplitSettings], n_most: int) -> list[FinishedTrial]:
        """Return what the first round measures, in the order of the trials' numbers.

        These are the picks of `choice`, up to `n_most` trials with their rivals, and the best baseline.
        """
        if not choice.picks:
            return []
        gains = self._gains(choice.picks, self._before, self.feasible)
        picked = set(choice.picks.values())
        rivals = [number for number in sorted(gains, key=lambda each: -gains[each]) if number not in picked]
        kept = picked | set(rivals[: max(0, n_most - len(picked))])
        best = best_baseline(self.feasible, baselines, self._before, self.weights)
        if best is not None:
            kept.add(best.number)
        return [each for each in self.feasible if each.number in kept]

    def left(self, choice: Choice, contenders: Sequence[FinishedTrial], rounds: Rounds) -> set[int]:
        """Return the numbers of the contenders that another round should measure: a pick and its rivals."""
        held = feasible_trials(self.held(self.feasible, rounds))
        known = estimates(held, self.priors)
        among = {each.number for each in contenders}
        return self._undecided(choice.picks, known, [each for each in held if each.number in among])

    def _undecided(self, picks: Mapping[str, int], known: Estimates, contenders: Sequence[FinishedTrial]) -> set[int]:
        found: set[int] = set()
        for name, weights in self._contests.items():
            rivals = self._rivals(picks.get(name), weights, known, contenders)
            found |= {picks[name], *rivals} if rivals else set()
        return found

    def _gains(
        self, picks: Mapping[str, int], known: Estimates, contenders: Sequence[FinishedTrial]
    ) -> dict[int, float]:
        """Return every rival with the largest gain that picking it is expected to have."""
        found: dict[int, float] = {}
        for name, weights in self._contests.items():
            for number, gain in self._rivals(picks.get(name), weights, known, contenders).items():
                found[number] = max(gain, found.get(number, gain))
        return found

    def _rivals(
        self, pick: int | None, weights: Weights, known: Estimates, contenders: Sequence[FinishedTrial]
    ) -> dict[int, float]:
        if pick is None:
            return {}
        gains = {
            each.number: expected_gain(known.difference(each.number, pick, weights))
            for each in contenders
            if each.number != pick
        }
        return {number: gain for number, gain in gains.items() if gain >= self.least_gain}

    @property
    def _contests(self) -> dict[str, Weights]:
        return contested(self.priors, self.weights)

    @cached_property
    def _before(self) -> Estimates:
        return estimates(self.feasible, self.priors)


class Finals:
    """The rounds after `n_trials` trials. Rounds that are stored already are not run again."""

    def __init__(self, schedule: Schedule, record: StudyRecord, n_trials: int, seed: int) -> None:
        self._schedule = schedule
        self._record = record
        self._n_trials = n_trials
        self._seed = seed

    def hold(
        self,
        contenders: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
        left: Callable[[Rounds], set[int]],
    ) -> None:
        """Measure round after round, each with the contenders that are left after the last one.

        It ends when nothing is left, after the schedule's number of rounds, or when the time is up after a round.
        """
        if len(contenders) > 1:
            self._hold("finals", str(self._n_trials), contenders, runner, on_round, time_is_up, left)

    def validate(
        self,
        trials: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
    ) -> None:
        """Measure each trial in every validation run. Nothing is measured where the time is up before the first."""
        of, everything = validation_of(self._n_trials, trials), {each.number for each in trials}
        if not time_is_up() or self._record.rounds("validation", of):
            self._hold("validation", of, trials, runner, on_round, time_is_up, lambda _rounds: everything)

    def _hold(
        self,
        stage: RoundStage,
        of: str,
        trials: Sequence[FinishedTrial],
        runner: TrialRunner,
        on_round: Callable[[RoundMeasured], None],
        time_is_up: Callable[[], bool],
        left: Callable[[Rounds], set[int]],
    ) -> None:
        settings = {trial.number: trial.settings for trial in trials}
        numbers = set(settings)
        for n_round in range(self._schedule.n_most(stage)):
            rounds = self._record.rounds(stage, of)
            begun = any(n_round in of_trial for of_trial in rounds.values())
            if not numbers or (n_round > 0 and not begun and time_is_up()):
                return
            order = round_order(sorted(numbers), n_round, f"{self._seed} {_SEEDS[stage]}")
            missing = [number for number in order if n_round not in rounds.get(number, {})]
            for n_left, number in zip(reversed(range(len(missing))), missing, strict=True):
                outcome = self._measure(stage, runner, n_round, number, settings[number])
                self._record.add_round(stage, of, n_round, number, outcome)
                if n_left == 0:
                    numbers = left(_before(self._record.rounds(stage, of), n_round + 1))
                on_round(RoundMeasured(stage, number, n_round, n_left, len(numbers), outcome))
            if not missing:
                numbers = left(_before(rounds, n_round + 1))

    def _measure(
        self, stage: RoundStage, runner: TrialRunner, n_round: int, number: int, settings: SplitSettings
    ) -> TrialOutcome:
        schedule = self._schedule
        effort = schedule.finals_effort
        if stage == "finals":  # it measures the objectives, and once all models together, which every pick reports
            effort = replace(effort, together=effort.repeat_together or n_round == 0, n_beside_prefill=0)
        elif n_round >= schedule.n_rounds_beside:
            effort = replace(effort, n_beside_prefill=0)
        if stage == "finals" or n_round >= schedule.n_rounds_at_depth:
            effort = replace(effort, at_depth=schedule.effort.at_depth)
        keep = partial(self._record.add_disturbed_round, stage, number)
        return measure_undisturbed(runner, settings, effort, schedule.n_attempts, keep)


def best_baseline(
    trials: Sequence[FinishedTrial], baselines: Collection[SplitSettings], known: Estimates, weights: Weights
) -> FinishedTrial | None:
    """Return the baseline with the highest score of the balanced pick; None where none can be picked."""
    measured = [each for each in trials if each.settings in baselines]
    if not measured:
        return None
    first = measured[0]
    counted = contested(first.settings, weights)[BALANCED]
    return max(measured, key=lambda each: (known.difference(each.number, first.number, counted).mean, -each.number))


def to_validate(
    trials: Sequence[FinishedTrial],
    choice: Choice,
    baselines: Collection[SplitSettings],
    known: Estimates,
    weights: Weights,
) -> list[FinishedTrial]:
    """Return what is measured once more, in the order of the numbers: the balanced pick, the best other baseline, and
    the balanced pick with the reference files."""
    pick = choice.picks.get(BALANCED)
    if pick is None:
        return []
    rivals = [each for each in feasible_trials(trials) if each.number != pick]
    best = best_baseline(rivals, baselines, known, weights)
    numbers = {pick, choice.reference_picks.get(BALANCED)}
    return [each for each in trials if each.number in numbers or each is best]


def validation_of(n_trials: int, trials: Sequence[FinishedTrial]) -> str:
    """Name the validation runs of what the finals over `n_trials` trials chose. Another choice has its own, so that all
    that is reported was measured in the same rounds."""
    return f"{n_trials}:{','.join(str(trial.number) for trial in trials)}"


def round_order(numbers: Sequence[int], n_round: int, seed: str) -> list[int]:
    """Return the trials' numbers in the order in which a round measures them."""
    return random.Random(f"{seed} {n_round}").sample(list(numbers), len(numbers))


def _before(rounds: Rounds, n_round: int) -> Rounds:
    """Return the rounds before a round, by trial."""
    return {
        number: {each: outcome for each, outcome in of_trial.items() if each < n_round}
        for number, of_trial in rounds.items()
    }
