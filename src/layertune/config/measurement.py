"""How a study measures: the tables [measurement] and [finals]."""

from typing import Annotated

from pydantic import Field, model_validator

from layertune.config.fields import Duration, Share, Table, Within

_Count = Annotated[int, Within(0, 1000)]
_AtLeastOnce = Annotated[int, Within(1, 1000)]
_AtLeastTwice = Annotated[int, Within(2, 1000)]


class Measurement(Table):
    """How long each trial measures, and what happens on a disturbed machine."""

    min_repeats: _AtLeastTwice = Field(default=3, description="Measured repetitions of each workload, at least.")
    max_repeats: _AtLeastTwice = Field(default=10, description="Measured repetitions of each workload, at most.")
    target_spread: Share = Field(
        default=0.02,
        description="Repeat until the 95 % interval of the median tokens/s is within ± this share of it.",
    )
    max_time: Duration = Field(
        default=15.0,
        description="Time limit for rounds in which each model runs alone, after which `min_repeats` are enough. The "
        "same limit applies to rounds in which all run at once.",
    )
    warm_up: Duration = Field(
        default=0.5,
        description="Least time of unmeasured runs first: a full physical batch of each model, then the workloads.",
    )
    max_attempts: _AtLeastOnce = Field(default=2, description="Measurements of a trial at most, if each was disturbed.")
    reference_every: _Count = Field(
        default=8, description="Measure a reference setting again after this many trials, to detect drift; 0 is never."
    )

    @model_validator(mode="after")
    def _check_order(self) -> "Measurement":
        if self.max_repeats < self.min_repeats:
            raise ValueError(f"max_repeats = {self.max_repeats} is below min_repeats = {self.min_repeats}")
        return self


class FinalsConfig(Table):
    """Finals: the best trials and all baselines are measured again, interleaved. Only these results choose front and
    picks. Then validation runs measure the chosen trials once more, and their results are reported."""

    max_rounds: _Count = Field(default=6, description="Rounds at most; 0 uses the results of the search.")
    max_finalists: _AtLeastOnce = Field(default=8, description="Trials at most, in addition to the baselines.")
    confirming_rounds: _Count = Field(
        default=6,
        description="Validation runs at most, of the front, the picks and the baselines. Their results are reported, "
        "because the results that chose are too good by luck. 0 reports the finals' results.",
    )
    n_repeats: _AtLeastOnce = Field(default=2, description="Measured repetitions of each workload in a round.")
    target_spread: Share = Field(
        default=0.01,
        description="End early if noise leaves less than this share uncertain: of every difference that decides the "
        "choice, and in validation runs of each tokens/s.",
    )
    beside_prefill: _Count = Field(
        default=3,
        description="This many of the reported rounds also time every model while the others process a long prompt; 0 "
        "is never. It takes minutes if prompts are slow.",
    )
