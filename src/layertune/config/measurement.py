"""How a study measures: the tables [measurement], [quality] and [finals]."""

from pathlib import Path
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
        description="Time limit for rounds in which each model runs alone, after which two are enough. The same limit "
        "applies to rounds in which all run at once.",
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


class QualityConfig(Table):
    """The quality of files and cache types, where a model has several to search."""

    measure: bool = Field(
        default=True,
        description="Measure before the first trial what each file and cache type costs in quality. If it is false "
        "(`--no-quality`), quality is unknown.",
    )
    max_kl_divergence: Annotated[float, Within(0.0001, 100.0)] = Field(
        default=0.1,
        description="A file or cache type whose KL divergence from the best file is larger is not searched.",
    )
    text: Path | None = Field(
        default=None, description="A text of your own to measure it on, instead of layertune's; relative to the config."
    )


class FinalsConfig(Table):
    """What is measured again: first what could still change a pick, then the pick and the best baseline."""

    max_rounds: _Count = Field(
        default=6, description="Rounds of the finals at most; 0 trusts the search's own measurements."
    )
    max_finalists: _AtLeastOnce = Field(
        default=5, description="Settings in the first round at most, besides the best baseline; every pick is in it."
    )
    confirming_rounds: _Count = Field(
        default=4,
        description="Validation runs of the balanced pick and the best baseline. They choose nothing, and the "
        "difference between the two is reported from them alone; 0 is none.",
    )
    n_repeats: _AtLeastOnce = Field(default=2, description="Measured repetitions of each workload in a round.")
    target_spread: Share = Field(
        default=0.01,
        description="How much slower than the best a pick may be. A setting is dropped from the finals once measuring "
        "it again is expected to gain less than a fifth of this.",
    )
    beside_prefill: _Count = Field(
        default=1,
        description="In so many validation runs each model is also timed while the others process long prompts; 0 is "
        "never. It takes minutes where prompts are slow.",
    )
    at_depth: _Count = Field(
        default=1,
        description="In so many validation runs each model whose context (of one slot) holds more than four workloads "
        "is also timed at half and full context; 0 is never. Filling the contexts may take half of "
        "`search.trial_timeout`, in equal shares; a model that takes longer is left out.",
    )
