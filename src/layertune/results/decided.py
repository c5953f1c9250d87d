"""Whether a choice rests on what was shown, or on differences that noise still leaves open."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from layertune.config.objective import Floor, Objective
from layertune.results.picks import EQUAL, candidates, choose
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

    For every finalist that is not on the front one there is shown to be no worse in any objective; and every pick to be
    no worse for its models than the trial that the medians alone would pick, which takes more memory.
    """
    front, _ = chosen(trials, objectives, floors)
    shown = {each.number: each for each in front}
    beside = [each for each in above(contenders(trials), floors) if each.number not in shown]
    if not all(any(no_worse(one, other, objectives, margin) for one in front) for other in beside):
        return False
    standing = candidates(front)
    picks = choose(standing, weights)
    by_medians = choose([replace(each, rounds={}) for each in standing], weights)
    return all(
        no_worse(shown[pick], shown[by_medians[name]], judged(name, shown[pick]), margin)
        for name, pick in picks.items()
        if pick != by_medians[name] and name != "lean"  # which follows from the balanced one
    )


def judged(pick: str, trial: FinishedTrial) -> list[Objective]:
    """Return what a pick is judged by: the speed of its model, the balanced one by every model's."""
    names = [pick] if pick in trial.settings else list(trial.settings)
    return [Objective(f"{name}.tokens_per_s", "maximize") for name in names]
