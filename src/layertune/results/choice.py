"""What a study chooses: the front it shows, the picks, and whether noise could still change either.

A front of noisy medians holds trials that are there by luck. Of trials that the rounds show no difference between,
one stands in for the others:

- A trial is tied with another that takes less memory, has a larger context or is clearly better in some objective, and
  is worse in none. Worse means clearly worse, or worse by more than `statistics.TIE` at the best guess.
- Of trials that are equal in memory and in every objective the earliest stands in for the others. The fastest of them
  would be the luckiest.

Only measurements of the same stage and round are compared (`trials.Round`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

from layertune.config.objective import VRAM_PEAK, Floor, Objective
from layertune.results.picks import EQUAL, Candidate, Speed, candidates, choose, compare_candidates, judged_by
from layertune.results.statistics import Comparison, compare
from layertune.results.trials import FinishedTrial, Round, above, contenders, front, objective_value
from layertune.trial.interval import LEVEL
from layertune.units import MIB

MIN_ROUNDS = 3  # fewer say little about a spread

ERROR = 0.05  # the most probable that a choice is ever called decided wrongly, over all looks at it

# What two measurements of one setting can differ by where a driver hands out memory in pages of 2 MiB.
_SAME_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True)
class Choice:
    """The front, in the order of the trials' numbers, and what follows from it.

    Attributes:
        front: The trials that a study shows.
        stand_ins: For each trial that noise alone would put on the front, the number of the front's trial that stands
            in for it.
        picks: A trial's number by the name of the pick; see `picks.choose`.
        decided: Whether noise could no longer change the choice by `margin`; None without finals, or without a margin.
    """

    front: tuple[FinishedTrial, ...]
    stand_ins: Mapping[int, int]
    picks: Mapping[str, int]
    decided: bool | None

    @classmethod
    def of(
        cls,
        trials: Sequence[FinishedTrial],
        objectives: Sequence[Objective],
        floors: Sequence[Floor] = (),
        weights: Mapping[str, float] = EQUAL,
        margin: float | None = None,
    ) -> "Choice":
        """Choose among finished trials. `margin` is relative: a smaller loss through noise is accepted."""
        remaining = above(contenders(trials), floors)
        best, stand_ins = without_ties(remaining, objectives)
        standing = candidates(best)
        picks = choose(standing, weights)
        finalists = [each for each in trials if each.rounds("finals")]
        decided = None
        if finalists and margin is not None:
            level = 1 - error_of_one(finalists, objectives)
            numbers = {each.number for each in best}
            others = [each for each in remaining if each.number not in numbers]
            decided = all(
                any(no_worse(one, other, objectives, margin, level) for one in best) for other in others
            ) and _picks_have_won(picks, standing, weights, margin, level)
        return cls(tuple(best), stand_ins, picks, decided)


def without_ties(
    trials: Sequence[FinishedTrial], objectives: Sequence[Objective]
) -> tuple[list[FinishedTrial], dict[int, int]]:
    """Return the front of the trials without those that another stands in for, and by their numbers these others'."""
    distinct, equal = first_of_equals(trials, objectives)
    best, tied = front_without_ties(front(distinct, objectives), objectives)
    stand_ins = {number: tied.get(first, first) for number, first in equal.items()} | tied
    shown = {each.number for each in best}
    return best, {number: first for number, first in stand_ins.items() if first in shown}


def front_without_ties(
    front: Sequence[FinishedTrial], objectives: Sequence[Objective]
) -> tuple[list[FinishedTrial], dict[int, int]]:
    """Return the front without its tied trials, and for each of these the number of the trial that it is tied with.

    Trials that no other beats are kept, and those that they beat are tied with them; then the same among the rest. To
    beat by noise is not transitive: a chain of ties must not end at a trial that is clearly worse, so each is tied with
    one that is kept, and of a circle the one with the least memory is kept. Trials that were not measured in two common
    rounds are not tied.
    """
    left, kept, tied = list(front), list[FinishedTrial](), dict[int, int]()
    while left:
        unbeaten = [each for each in left if not any(_beats(other, each, objectives) for other in left)]
        stay = unbeaten or [min(left, key=lambda each: (each.peak_bytes(), each.number))]
        kept += stay
        for each in left:
            better = next((other for other in stay if _beats(other, each, objectives)), None)
            if each not in stay and better is not None:
                tied[each.number] = better.number
        left = [each for each in left if each not in stay and each.number not in tied]
    return sorted(kept, key=lambda each: each.number), tied


def first_of_equals(
    trials: Sequence[FinishedTrial], objectives: Sequence[Objective]
) -> tuple[list[FinishedTrial], dict[int, int]]:
    """Return the trials without those that take as much memory as an earlier one and are tied with it in every
    objective, and for each of these the number of that one. Trials without two common rounds are not equal."""
    kept, equal = list[FinishedTrial](), dict[int, int]()
    for trial in sorted(trials, key=lambda each: each.number):
        first = next((other for other in kept if _equal(other, trial, objectives)), None)
        if first is None:
            kept.append(trial)
        else:
            equal[trial.number] = first.number
    return kept, equal


def no_worse(
    one: FinishedTrial, other: FinishedTrial, objectives: Sequence[Objective], margin: float, level: float
) -> bool:
    """Return whether rounds show, with a confidence of `level`, that `one` is in no objective worse than `other` by
    `margin` of it or more. Trials without two common rounds show nothing."""
    return all(_no_worse(one, other, objective, margin, level) for objective in objectives)


def compare_rounds(
    ours: FinishedTrial, theirs: FinishedTrial, model: str, quantity: str, level: float = LEVEL
) -> Comparison | None:
    """Compare a quantity of two trials in the rounds that choose; None where they have no such round in common."""
    return compare(ours.by_round(model, quantity), theirs.by_round(model, quantity), level)


def error_of_one(finalists: Sequence[FinishedTrial], objectives: Sequence[Objective]) -> float:
    """Return how probable it may be that one comparison of two finalists errs in the present look.

    Look k, after round MIN_ROUNDS + k − 1, gets 1 / (k (k + 1)) of ERROR; the shares sum to 1 (error spending: Lan and
    DeMets, Discrete Sequential Boundaries for Clinical Trials, Biometrika 70, 1983). Within a look every comparison
    gets the same share (Bonferroni). The measurements themselves decide which trials are on the front, so any two
    finalists may be compared, in any quantity. Of the two only one can be shown wrongly to be no worse.
    """
    models = list(finalists[0].settings)
    judged = {each.name for each in objectives if each.is_clocked} | {f"{name}.tokens_per_s" for name in models}
    n_quantities = len(judged) + (len(models) > 1)  # the balanced pick's score is that of a single model
    n_rounds = 1 + max(each.number for finalist in finalists for each in finalist.rounds("finals"))
    look = max(1, n_rounds - MIN_ROUNDS + 1)
    return ERROR / (look * (look + 1)) / (n_quantities * max(1, comb(len(finalists), 2)))


def _picks_have_won(
    picks: Mapping[str, int], standing: Sequence[Candidate], weights: Mapping[str, float], margin: float, level: float
) -> bool:
    """Return whether every pick but the lean one is shown to be slower than no other candidate by `margin` or more, in
    the speed that it is picked for."""
    speeds = judged_by(standing, weights) if standing else {}
    return all(_has_won(picks[name], standing, speed, margin, level) for name, speed in speeds.items())


def _has_won(pick: int, standing: Sequence[Candidate], speed: Speed, margin: float, level: float) -> bool:
    winner = next(each for each in standing if each.number == pick)
    compared = [compare_candidates(winner, each, speed, level) for each in standing if each is not winner]
    return all(each is not None and each.no_less(margin) for each in compared)


def _equal(one: FinishedTrial, other: FinishedTrial, objectives: Sequence[Objective]) -> bool:
    if not _comparable(one, other) or abs(one.peak_bytes() - other.peak_bytes()) > _alike_bytes(one):
        return False
    return all(_sign(objective, one, other) == 0 for objective in objectives)


def _beats(other: FinishedTrial, trial: FinishedTrial, objectives: Sequence[Objective]) -> bool:
    if not _comparable(other, trial):
        return False
    if any(_sign(objective, other, trial) < 0 for objective in objectives):
        return False
    return any(_clearly_better(objective, other, trial) for objective in objectives)


def _clearly_better(objective: Objective, other: FinishedTrial, trial: FinishedTrial) -> bool:
    if not objective.is_clocked:
        return _sign(objective, other, trial) > 0
    compared = compare_rounds(other, trial, objective.subject, objective.quantity)
    return compared is not None and compared.clear and (compared.ratio > 1) == (objective.direction == "maximize")


def _sign(objective: Objective, other: FinishedTrial, trial: FinishedTrial) -> int:
    """Return 1 where `other` is better in the objective, −1 where it is worse, 0 where the two are tied."""
    better = 1 if objective.direction == "maximize" else -1
    if not objective.is_clocked:
        difference = objective_value(objective, other) - objective_value(objective, trial)
        same = _alike_bytes(other) if objective.name == VRAM_PEAK else 0
        return 0 if abs(difference) <= same else better if difference > 0 else -better
    compared = compare_rounds(other, trial, objective.subject, objective.quantity)
    if compared is None or compared.tied:
        return 0
    return better if compared.ratio > 1 else -better


def _no_worse(one: FinishedTrial, other: FinishedTrial, objective: Objective, margin: float, level: float) -> bool:
    if not objective.is_clocked:
        return _sign(objective, one, other) >= 0
    compared = compare_rounds(one, other, objective.subject, objective.quantity, level)
    if compared is None:
        return False
    return compared.no_less(margin) if objective.direction == "maximize" else compared.no_more(margin)


def _comparable(one: FinishedTrial, other: FinishedTrial) -> bool:
    return len(_chosen_in(one) & _chosen_in(other)) >= 2


def _chosen_in(trial: FinishedTrial) -> set[Round]:
    return set(trial.rounds(trial.chosen_by))


def _alike_bytes(trial: FinishedTrial) -> int:
    """Return by how much two measurements of the same memory may differ: a card is counted, a driver polled."""
    measured = trial.feasible()
    polled = measured is not None and measured.vram is not None and measured.vram.scope != "card"
    return _SAME_BYTES if polled else 0
