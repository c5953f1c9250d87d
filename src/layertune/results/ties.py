"""Trials that only noise tells apart.

On a front of measured figures every trial that was lucky once stands beside the one it equals. A trial is tied where
another takes less memory or has a larger context, or is clearly better in some objective, and is clearly worse in
none.
"""

from collections.abc import Sequence

from layertune.config.objective import VRAM_PEAK, Objective
from layertune.results.comparison import Comparison, compare
from layertune.results.trials import FinishedTrial, objective_value
from layertune.units import MIB

# What two measurements of one setting can differ by where a driver hands out memory in pages of 2 MiB.
_SAME_BYTES = 2 * MIB


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


def _beats(other: FinishedTrial, trial: FinishedTrial, objectives: Sequence[Objective]) -> bool:
    if len(other.rounds.keys() & trial.rounds.keys()) < 2:
        return False
    signs = [_sign(objective, other, trial) for objective in objectives]
    return min(signs) >= 0 and max(signs) > 0


def _sign(objective: Objective, other: FinishedTrial, trial: FinishedTrial) -> int:
    """Return 1 where `other` is clearly better in the objective, −1 where it is clearly worse, else 0."""
    better = 1 if objective.direction == "maximize" else -1
    if objective.name == VRAM_PEAK or objective.quantity == "n_ctx":
        difference = objective_value(objective, other) - objective_value(objective, trial)
        same = _SAME_BYTES if objective.name == VRAM_PEAK and _polled(other) else 0
        return 0 if abs(difference) <= same else better if difference > 0 else -better
    compared = compare_rounds(other, trial, objective.subject, objective.quantity)
    if compared is None or not compared.clear:
        return 0
    return better if compared.ratio > 1 else -better


def compare_rounds(ours: FinishedTrial, theirs: FinishedTrial, model: str, quantity: str) -> Comparison | None:
    """Compare a figure of two finalists, round by round; None where they have no round in common."""
    return compare(ours.by_round(model, quantity), theirs.by_round(model, quantity))


def _polled(trial: FinishedTrial) -> bool:
    measured = trial.feasible()
    return measured is not None and measured.vram is not None and measured.vram.scope != "card"
