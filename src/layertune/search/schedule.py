"""How a study measures: how long, how often again, and against what."""

from dataclasses import dataclass, field

from layertune.results.trials import RoundKind
from layertune.settings import SplitSettings
from layertune.trial.effort import Effort


@dataclass(frozen=True, slots=True)
class FinalsPlan:
    """How the finals are held: at most `n_rounds` rounds of the baselines and at most `n_finalists` others, then at
    most `n_confirming` of what these chose and the baselines. The first `n_rounds_beside` of the rounds that are told
    also measure beside the other models' long prompts, where the effort says so."""

    n_rounds: int = 0
    n_finalists: int = 0
    effort: Effort = field(default_factory=lambda: Effort(1, 1, 0.0))
    n_rounds_beside: int = 3
    n_confirming: int = 0

    def n_most(self, kind: RoundKind) -> int:
        return self.n_rounds if kind == "finals" else self.n_confirming


@dataclass(frozen=True, slots=True)
class Measuring:
    """`n_attempts` is how often a disturbed trial is measured in all. Every `n_between` finished trials `reference` is
    measured again, to notice a machine that became slower or faster; 0 is never."""

    effort: Effort = field(default_factory=lambda: Effort(3, 3, 0.02))
    n_attempts: int = 1
    reference: SplitSettings | None = None
    n_between: int = 0
    finals: FinalsPlan = field(default_factory=FinalsPlan)
