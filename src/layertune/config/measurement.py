"""How a study measures: the tables [measurement] and [finals]."""

from typing import Annotated

from pydantic import Field, model_validator

from layertune.config.fields import Duration, Share, Table, Within

_Count = Annotated[int, Within(0, 1000)]
_AtLeastOnce = Annotated[int, Within(1, 1000)]
_AtLeastTwice = Annotated[int, Within(2, 1000)]


class Measurement(Table):
    """How long each trial measures, and what is done about a machine that is not quiet."""

    min_repeats: _AtLeastTwice = Field(default=3, description="Measured repetitions of each workload, at least.")
    max_repeats: _AtLeastTwice = Field(default=10, description="Measured repetitions of each workload, at most.")
    target_spread: Share = Field(
        default=0.02,
        description="Repeat until the 95 % interval of the median tokens/s is within ± this share of it.",
    )
    max_time: Duration = Field(
        default=15.0,
        description="After so long of rounds in which each model runs alone, `min_repeats` are enough; the same again "
        "where all run at once. A slow setting need not be known as well.",
    )
    warm_up: Duration = Field(
        default=0.5,
        description="Run unmeasured for at least this long: a full physical batch of each model, then the workloads.",
    )
    max_attempts: _AtLeastOnce = Field(
        default=2, description="Measure a trial that something disturbed again, at most this often in all."
    )
    reference_every: _Count = Field(
        default=8, description="Measure one setting again after so many trials, to notice drift; 0 is never."
    )

    @model_validator(mode="after")
    def _check_order(self) -> "Measurement":
        if self.max_repeats < self.min_repeats:
            raise ValueError(f"max_repeats = {self.max_repeats} is below min_repeats = {self.min_repeats}")
        return self


class FinalsConfig(Table):
    """The best trials and all baselines measured again, in turns; front and picks come of these figures only. Then what
    was chosen is measured once more, in rounds that choose nothing, and their figures are told."""

    max_rounds: _Count = Field(default=6, description="Rounds at most; 0 trusts the search's own figures.")
    max_finalists: _AtLeastOnce = Field(default=8, description="Trials beside the baselines, at most.")
    confirming_rounds: _Count = Field(
        default=6,
        description="Rounds after the choice at most, of the front, the picks and the baselines, whose figures are "
        "told: who was chosen was lucky in the rounds that chose. 0 tells the figures of those.",
    )
    n_repeats: _AtLeastOnce = Field(default=2, description="Measured repetitions of each workload in a round.")
    target_spread: Share = Field(
        default=0.01,
        description="End early once this share is all that noise leaves open: of any difference that the choice rests "
        "on, and in the rounds after it of each tokens/s.",
    )
    beside_prefill: _Count = Field(
        default=3,
        description="The first so many of the rounds whose figures are told also clock every model while the others "
        "are in a long prompt; 0 is never. It takes minutes where prompts are slow.",
    )
