"""How a search measures: how long, how often again, and at most how many rounds of the finals."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from layertune.results.trials import FinishedTrial, RoundStage
from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a search measures its trials, the reference setting and the finals.

    Attributes:
        effort: how long each trial is measured.
        n_attempts: how often a measurement that was disturbed is made, in all.
        reference: the setting that is measured again from time to time, to notice a machine that has become slower or
            faster.
        n_between: how many finished trials lie between two reference measurements; 0 is no reference measurement.
        n_rounds: at most so many rounds of the finals; 0 is no finals.
        n_finalists: at most so many settings besides the baselines take part in the finals.
        n_confirming: at most so many validation runs of each setting that the finals chose.
        finals_effort: how long each setting is measured in a round.
        n_rounds_beside: in so many of the rounds whose speeds are reported, each model is also measured while the
            others process long prompts.
        n_rounds_at_depth: in so many of them, the models that `finals_effort` names are also measured at half and full
            context; those that `effort` names are in every measurement.
    """

    effort: Effort = field(default_factory=lambda: Effort(3, 3, 0.02))
    n_attempts: int = 1
    reference: SplitSettings | None = None
    n_between: int = 0
    n_rounds: int = 0
    n_finalists: int = 0
    n_confirming: int = 0
    finals_effort: Effort = field(default_factory=lambda: Effort(1, 1, 0.0))
    n_rounds_beside: int = 3
    n_rounds_at_depth: int = 1

    def n_most(self, stage: RoundStage) -> int:
        """Return the largest number of rounds of a stage."""
        return self.n_rounds if stage == "finals" else self.n_confirming

    def n_attempts_after(self, finished: Sequence[FinishedTrial]) -> int:
        """Return how often the next trial may be made, in all.

        If the last trial was disturbed in every attempt, the next one would most likely be, too, so it is made once.
        """
        last = max(finished, key=lambda each: each.number, default=None)
        if last is not None and isinstance(last.outcome, Measured) and last.outcome.disturbances:
            return 1
        return self.n_attempts
