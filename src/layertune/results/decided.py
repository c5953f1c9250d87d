"""Whether a choice rests on what was shown, or on differences that noise still leaves open."""

from collections.abc import Mapping, Sequence

from layertune.config.objective import Floor, Objective
from layertune.results.picks import EQUAL, Candidate, Speed, candidates, choose, compare_candidates, judged_by
from layertune.results.ties import chosen, no_worse
from layertune.results.trials import FinishedTrial, above, contenders


def is_decided(
    trials: Sequence[FinishedTrial],
    objectives: Sequence[Objective],
    margin: float,
    floors: Sequence[Floor] = (),
    weights: Mapping[str, float] = EQUAL,
) -> bool:
    """Say whether nobody lost by more than `margin`, relative, through noise.

    For every finalist that is not on the front one there is shown to be no worse in any objective by as much; and every
    pick but the lean one to be no slower by as much, in what it is picked for, than any other trial there. Who misses a
    floor by its median is out: whether that was noise is not asked. Nor is anything where no finalist came through.
    """
    if not any(each.rounds for each in trials):
        return True
    front, _ = chosen(trials, objectives, floors)
    numbers = {each.number for each in front}
    beside = [each for each in above(contenders(trials), floors) if each.number not in numbers]
    if not all(any(no_worse(one, other, objectives, margin) for one in front) for other in beside):
        return False
    standing = candidates(front)
    picks = choose(standing, weights)
    speeds = judged_by(standing, weights) if standing else {}
    return all(_has_won(picks[name], standing, speed, margin) for name, speed in speeds.items())


def _has_won(pick: int, standing: Sequence[Candidate], speed: Speed, margin: float) -> bool:
    """Say whether the candidate of that number is shown to be slower than no other by `margin` or more."""
    winner = next(each for each in standing if each.number == pick)
    compared = [compare_candidates(winner, each, speed) for each in standing if each is not winner]
    return all(each is not None and each.no_less(margin) for each in compared)
