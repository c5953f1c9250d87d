"""Trials that only noise tells apart.

On a front of measured figures every trial that was lucky once stands beside the one it equals. A trial is tied where
another takes less memory or has a larger context, or is clearly better in some objective, and is worse in none: worse
is what is clearly so, or what is by more than results/comparison.py's TIE the best guess. Of trials that nothing tells
apart the earliest stands for all: the fastest of them would be the luckiest.
"""

from collections.abc import Sequence

from layertune.config.objective import VRAM_PEAK, Floor, Objective
from layertune.results.comparison import Comparison, compare
from layertune.results.trials import FinishedTrial, above, contenders, front, objective_value
from layertune.trial.interval import LEVEL
from layertune.units import MIB

# What two measurements of one setting can differ by where a driver hands out memory in pages of 2 MiB.
_SAME_BYTES = 2 * MIB


def chosen(
    trials: Sequence[FinishedTrial], objectives: Sequence[Objective], floors: Sequence[Floor] = ()
) -> tuple[list[FinishedTrial], dict[int, int]]:
    """Return the front that a study shows, and for each trial that noise alone would have put there the number of the
    one that stands for it."""
    left, equal = first_of_equals(above(contenders(trials), floors), objectives)
    best, tied = without_ties(front(left, objectives), objectives)
    stand_in = {number: tied.get(first, first) for number, first in equal.items()} | tied
    shown = {each.number for each in best}
    return best, {number: first for number, first in stand_in.items() if first in shown}


def without_ties(
    front: Sequence[FinishedTrial], objectives: Sequence[Objective]
) -> tuple[list[FinishedTrial], dict[int, int]]:
    """Return the front without its tied trials, and for each of these the number of the trial it is tied with.

    What nobody beats stays, and what it beats is tied with it; then the same among the rest. To beat by noise is not
    transitive: a chain of ties must not end at a trial that is clearly worse, so each is tied with one that stays, and
    of a circle the leanest stays. Trials that have not two rounds in common are not tied.
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
    finalists: Sequence[FinishedTrial], objectives: Sequence[Objective]
) -> tuple[list[FinishedTrial], dict[int, int]]:
    """Return the finalists without those that take as much memory as an earlier one and are tied with it in every
    objective, and for each of these the number of that one. Trials that have not two rounds in common are not equal."""
    kept, equal = list[FinishedTrial](), dict[int, int]()
    for trial in sorted(finalists, key=lambda each: each.number):
        first = next((other for other in kept if _equal(other, trial, objectives)), None)
        if first is None:
            kept.append(trial)
        else:
            equal[trial.number] = first.number
    return kept, equal


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


def no_worse(
    one: FinishedTrial, other: FinishedTrial, objectives: Sequence[Objective], margin: float, level: float
) -> bool:
    """Say whether rounds show, with a confidence of `level`, that `one` is in no objective worse than `other` by
    `margin` of it or more; trials that have not two rounds in common show nothing."""
    return all(_no_worse(one, other, objective, margin, level) for objective in objectives)


def _no_worse(one: FinishedTrial, other: FinishedTrial, objective: Objective, margin: float, level: float) -> bool:
    if not objective.is_clocked:
        return _sign(objective, one, other) >= 0
    compared = compare_rounds(one, other, objective.subject, objective.quantity, level)
    if compared is None:
        return False
    return compared.no_less(margin) if objective.direction == "maximize" else compared.no_more(margin)


def compare_rounds(
    ours: FinishedTrial, theirs: FinishedTrial, model: str, quantity: str, level: float = LEVEL
) -> Comparison | None:
    """Compare a figure of two finalists, round by round; None where they have no round in common."""
    return compare(ours.by_round(model, quantity), theirs.by_round(model, quantity), level)


def _comparable(one: FinishedTrial, other: FinishedTrial) -> bool:
    return len({*one.round_ids()} & {*other.round_ids()}) >= 2


def _alike_bytes(trial: FinishedTrial) -> int:
    """Return by how much two measurements of the same memory may differ: a card is counted, a driver polled."""
    measured = trial.feasible()
    polled = measured is not None and measured.vram is not None and measured.vram.scope != "card"
    return _SAME_BYTES if polled else 0
