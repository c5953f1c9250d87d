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
from dataclasses import dataclass, field

from layertune.config.objective import VRAM_PEAK, Floor, Objective
from layertune.results.estimates import Estimates
from layertune.results.picks import EQUAL, Compare, candidates, choose, contested
from layertune.results.statistics import Comparison, compare
from layertune.results.trials import (
    FinishedTrial,
    Round,
    above,
    contenders,
    feasible_trials,
    front,
    objective_value,
)
from layertune.units import MIB

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
        decided: Whether noise could no longer change a pick by `margin`; None without finals, estimates or a margin.
        reference_picks: The picks among the trials with the reference files, where quality was measured.
    """

    front: tuple[FinishedTrial, ...]
    stand_ins: Mapping[int, int]
    picks: Mapping[str, int]
    decided: bool | None
    reference_picks: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        trials: Sequence[FinishedTrial],
        objectives: Sequence[Objective],
        floors: Sequence[Floor] = (),
        weights: Mapping[str, float] = EQUAL,
        margin: float | None = None,
        estimates: Estimates | None = None,
    ) -> "Choice":
        """Choose among finished trials.

        Args:
            trials: All finished trials.
            objectives: What the front is of.
            floors: The least that a trial of the front must reach.
            weights: By model, how much its speed counts in the balanced pick.
            margin: A smaller loss through noise is accepted, relative.
            estimates: What is known of the speeds of all feasible trials; without them, picks compare medians.
        """
        remaining = above(feasible_trials(trials), floors)
        best, stand_ins = without_ties(remaining, objectives)
        if estimates is None:
            return cls(tuple(best), stand_ins, choose(candidates(contenders(best)), weights), None)
        pickable = contenders([each for each in remaining if each.number not in stand_ins])
        picks = choose(candidates(pickable, estimates), weights, _comparing(estimates))
        decided = None
        if margin is not None and pickable and pickable[0].rounds("finals"):
            decided = _is_decided(contenders(remaining), picks, weights, margin, estimates)
        # What is best by all that is known may have had bad luck in its own measurement.
        shown = {each.number for each in best} | set(picks.values())
        return cls(tuple(each for each in remaining if each.number in shown), stand_ins, picks, decided)


def _comparing(estimates: Estimates) -> Compare:
    return lambda one, other, weights: estimates.difference(one.number, other.number, weights).comparison()


def _is_decided(
    finalists: Sequence[FinishedTrial],
    picks: Mapping[str, int],
    weights: Mapping[str, float],
    margin: float,
    estimates: Estimates,
) -> bool:
    """Return whether each contested pick is shown to be slower than no other finalist by `margin` or more.

    The probability of an error is spent over looks and comparisons. Look k, after round k, gets 1 / (k (k + 1)) of
    ERROR; the shares sum to 1 (error spending: Lan and DeMets, Discrete Sequential Boundaries for Clinical Trials,
    Biometrika 70, 1983). Within a look every comparison gets the same share (Bonferroni).
    """
    contests = contested(finalists[0].settings, weights)
    look = 1 + max(key.number for each in finalists for key in each.rounds("finals"))
    level = 1 - ERROR / (look * (look + 1)) / (len(contests) * max(1, len(finalists) - 1))
    return all(
        estimates.difference(each.number, picks[name], counted).comparison(level).no_more(margin)
        for name, counted in contests.items()
        for each in finalists
        if each.number != picks[name]
    )


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


def compare_rounds(ours: FinishedTrial, theirs: FinishedTrial, model: str, quantity: str) -> Comparison | None:
    """Compare a quantity of two trials in the rounds that choose; None where they have no such round in common."""
    return compare(ours.by_round(model, quantity), theirs.by_round(model, quantity))


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


def _comparable(one: FinishedTrial, other: FinishedTrial) -> bool:
    return len(_chosen_in(one) & _chosen_in(other)) >= 2


def _chosen_in(trial: FinishedTrial) -> set[Round]:
    return set(trial.rounds(trial.chosen_by))


def _alike_bytes(trial: FinishedTrial) -> int:
    """Return by how much two measurements of the same memory may differ: a card is counted, a driver polled."""
    measured = trial.feasible()
    polled = measured is not None and measured.vram is not None and measured.vram.scope != "card"
    return _SAME_BYTES if polled else 0
