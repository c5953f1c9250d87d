"""Whether a choice rests on what was shown, or on differences that noise still leaves open."""

from collections.abc import Mapping, Sequence
from math import comb

from layertune.config.objective import Floor, Objective
from layertune.results.picks import EQUAL, Candidate, Speed, candidates, choose, compare_candidates, judged_by
from layertune.results.ties import chosen, no_worse
from layertune.results.trials import FinishedTrial, above, contenders

MIN_ROUNDS = 3  # fewer say little of a spread

ERROR = 0.05  # how probable it may be, over all looks of one choice, that it is ever called decided and is not


def is_decided(
    trials: Sequence[FinishedTrial],
    objectives: Sequence[Objective],
    margin: float,
    floors: Sequence[Floor] = (),
    weights: Mapping[str, float] = EQUAL,
) -> bool:
    """Say whether nobody lost by `margin` or more, relative, through noise. A study may look after every round: the
    answer is ever wrong with a probability of at most ERROR.

    For every finalist that is not on the front one there is shown to be no worse in any objective by as much; and every
    pick but the lean one to be no slower by as much, in what it is picked for, than any other trial there. Who misses a
    floor by its median is out: whether that was noise is not asked. Nor is anything where no finalist came through.
    """
    finalists = [each for each in trials if each.rounds]
    if not finalists:
        return True
    level = 1 - error_of_one(finalists, objectives)
    front, _ = chosen(trials, objectives, floors)
    numbers = {each.number for each in front}
    beside = [each for each in above(contenders(trials), floors) if each.number not in numbers]
    if not all(any(no_worse(one, other, objectives, margin, level) for one in front) for other in beside):
        return False
    standing = candidates(front)
    picks = choose(standing, weights)
    speeds = judged_by(standing, weights) if standing else {}
    return all(_has_won(picks[name], standing, speed, margin, level) for name, speed in speeds.items())


def error_of_one(finalists: Sequence[FinishedTrial], objectives: Sequence[Objective]) -> float:
    """Return how probable it may be that one comparison of two finalists errs in the present look.

    Look k, which is the round MIN_ROUNDS + k − 1, gets 1 / (k (k + 1)) of ERROR: all that there may be make 1 (error
    spending: Lan and DeMets, Discrete Sequential Boundaries for Clinical Trials, Biometrika 70, 1983). In a look every
    comparison gets the same share (Bonferroni): the figures themselves say who is on the front, any one there will do,
    and so any two finalists may be compared, in any quantity. Of the two only one can be shown wrongly to be no worse.
    """
    models = list(finalists[0].settings)
    judged = {each.name for each in objectives if each.is_clocked} | {f"{name}.tokens_per_s" for name in models}
    n_quantities = len(judged) + (len(models) > 1)  # the balanced pick's score is that of a single model
    n_rounds = 1 + max(max(each.rounds) for each in finalists)
    look = max(1, n_rounds - MIN_ROUNDS + 1)
    return ERROR / (look * (look + 1)) / (n_quantities * max(1, comb(len(finalists), 2)))


def _has_won(pick: int, standing: Sequence[Candidate], speed: Speed, margin: float, level: float) -> bool:
    """Say whether the candidate of that number is shown to be slower than no other by `margin` or more."""
    winner = next(each for each in standing if each.number == pick)
    compared = [compare_candidates(winner, each, speed, level) for each in standing if each is not winner]
    return all(each is not None and each.no_less(margin) for each in compared)
