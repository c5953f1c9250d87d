"""One trial as result.json has it, and what can be read from it."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from layertune.config.objective import GENERATED, VRAM_PEAK, Objective
from layertune.results.figures import Bytes, BytesMore, BytesOver, Count, Engine, Figure, NotNegative, Number
from layertune.trial.outcome import ModelSamples

# What every measured trial has; an embedding or reranking model has no tg. Older results lack `tpot_s`; speeds together
# and latencies next to a prefill are measured where they are sought, and in the finals and validation
# runs; so are speeds at a filled context.
METRICS = frozenset(("pp_tokens_per_s", "tg_tokens_per_s", "ttft_s", "tokens_per_s"))
_TOGETHER = "tokens_per_s_together"

# Rates and times are never 0, and a sum or a ratio of them never overflows.
_LEAST, _MOST = 1e-9, 1e12
_RATES = {*(field.name for field in fields(ModelSamples)), "tpot_s"}

_SAMPLED = tuple(field.name for field in fields(ModelSamples) if field.name in {*METRICS, _TOGETHER})

# When a quantity was measured, by its public names: validation runs are "confirming" here.
MeasuredIn = Literal["search", "finals", "confirming"]


class Part(BaseModel):
    """Unknown fields are kept out silently: a newer layertune of the same schema version may have added some."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class OfDevices(Part):
    """A part with a key `devices`, which is left out of the JSON for a single device."""

    @model_serializer(mode="wrap")
    def _without_devices(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        return {key: value for key, value in dumped.items() if key != "devices" or value is not None}


class MetricInfo(Part):
    """`low` and `high` are the 95 % interval of the median, of a finalist over its rounds."""

    median: Figure
    mad: NotNegative
    n: Count
    samples: list[Figure] = Field(min_length=1)
    low: Figure | None = None
    high: Figure | None = None

    @model_validator(mode="after")
    def _check_whole(self) -> "MetricInfo":
        if self.n != len(self.samples):
            raise ValueError(f"n is {self.n}, and there are {len(self.samples)} samples")
        if not min(self.samples) <= self.median <= max(self.samples):
            raise ValueError(f"the median {self.median} is beyond the samples")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")
        if self.low is not None and self.high is not None and not self.low <= self.median <= self.high:
            raise ValueError(f"the median {self.median} is beyond its interval")
        return self


class PhaseInfo(Part):
    """The device memory at the end of a phase: in use, what of it llama.cpp's buffers are, and the rest, in bytes."""

    used_bytes: BytesMore
    weights_bytes: Bytes
    kv_bytes: Bytes
    compute_bytes: Bytes
    unaccounted_bytes: BytesMore


class SamplingInfo(Part):
    interval_s: NotNegative
    n_samples: Count
    n_missed: Count
    cost_s: NotNegative


class DeviceVramInfo(Part):
    """One of several devices."""

    peak_bytes: BytesMore  # above the baseline, of which others may have given some back
    baseline_bytes: BytesMore
    planned_bytes: Bytes | None


class VramInfo(OfDevices):
    """`planned_bytes` are all models' planned buffers; `unaccounted_bytes` the peak without llama.cpp's own buffers. Of
    several `devices` all figures are sums, that of the peak of each one's own."""

    peak_bytes: BytesMore  # above the baseline, of which others may have given some back
    baseline_bytes: BytesMore
    planned_bytes: Bytes | None
    unaccounted_bytes: BytesMore | None = None
    scope: str
    source: str
    phases: dict[str, BytesMore] = Field(default_factory=dict)
    split: dict[str, PhaseInfo] = Field(default_factory=dict)
    foreign_bytes: BytesMore | None = None
    sampling: SamplingInfo | None = None
    devices: list[DeviceVramInfo] | None = None


class HostInfo(Part):
    peak_rss_bytes: Bytes


class BufferInfo(Part):
    weights_bytes: Bytes
    kv_bytes: Bytes
    compute_bytes: Bytes
    output_bytes: Bytes


def last_in_common(trials: Iterable["TrialInfo"]) -> MeasuredIn:
    """Return the last stage in which all of the trials were measured, the last one there is for no trials. The speeds
    that chose a winner are partly luck, so later ones are better."""
    order: tuple[MeasuredIn, ...] = ("search", "finals", "confirming")
    return min((trial.last_measured_in() for trial in trials), key=order.index, default="confirming")


class TrialInfo(Part):
    """One trial.

    Attributes:
        metrics: By model what is reported, None where nothing was measured: of the validation runs, else of the finals,
            else of the search. Samples are in the order of the rounds.
        finals: The metrics of the finals, for a trial with validation runs.
        screening: The metrics of the search, for a trial that was measured again.
        n_rounds: In how many rounds of the finals it was measured.
        n_confirming: In how many validation runs it was measured.
        violations: Bytes over each limit; a limit is kept where that is at most 0.
        tied_with: The trial that stands in for it on the front.
        flash_attn: By model whether llama.cpp's "auto" became on, where llama.cpp logged it.
        checkpoint_bytes: By model what one context checkpoint of llama-server takes of the host's memory, where it is
            known.
        load_s: How long each model's weights and context took to load, with its file in the page cache, once for every
            measurement. Weights that stayed loaded count with the load that brought them.
    """

    number: Number
    state: Literal["measured", "infeasible", "failed"]
    reason: str | None
    settings: dict[str, Engine]
    metrics: dict[str, dict[str, MetricInfo]] | None
    vram: VramInfo | None
    host: HostInfo | None
    duration_s: NotNegative
    violations: dict[str, BytesOver] = Field(default_factory=dict)
    buffers: dict[str, dict[str, BufferInfo]] | None = None
    planned: dict[str, dict[str, BufferInfo]] | None = None
    warnings: list[str] = Field(default_factory=list)
    n_rounds: Count = 0
    n_confirming: Count = 0
    screening: dict[str, dict[str, MetricInfo]] | None = None
    finals: dict[str, dict[str, MetricInfo]] | None = None
    tied_with: Number | None = None
    flash_attn: dict[str, bool] = Field(default_factory=dict)
    load_s: dict[str, MetricInfo] = Field(default_factory=dict)
    checkpoint_bytes: dict[str, Bytes] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_whole(self) -> "TrialInfo":
        if self.metrics is None and self.state == "measured":
            raise ValueError("the trial was measured and has no metrics")
        for key, measured in (("metrics", self.metrics), ("finals", self.finals), ("screening", self.screening)):
            if measured is None:
                continue
            if measured.keys() != self.settings.keys():
                raise ValueError(f"{key} and settings do not name the same models")
            for name, metrics in measured.items():
                needed = METRICS - GENERATED if self.settings[name].pooling else METRICS
                if lacking := needed - metrics.keys():
                    raise ValueError(f"{key}.{name} lacks {', '.join(sorted(lacking))}")
                _check_rates(f"{key}.{name}", metrics)
        return self

    def n_all_rounds(self) -> int:
        """Return in how many rounds it was measured again."""
        return self.n_rounds + self.n_confirming

    def last_measured_in(self) -> MeasuredIn:
        """Return the stage of `metrics`."""
        return "confirming" if self.n_confirming else "finals" if self.n_rounds else "search"

    def metrics_of(self, measured_in: MeasuredIn) -> dict[str, dict[str, MetricInfo]] | None:
        """Return the metrics of a stage, None where there are none."""
        if measured_in == self.last_measured_in():
            return self.metrics
        return {"search": self.screening, "finals": self.finals, "confirming": None}[measured_in]

    def exceeded(self) -> dict[str, float]:
        """Return the limits that the trial does not keep, and by how many bytes."""
        return {name: excess_bytes for name, excess_bytes in self.violations.items() if excess_bytes > 0}


def is_disturbed(trial: TrialInfo) -> bool:
    return any(warning.startswith("disturbed") for warning in trial.warnings)


def recorded_samples(trial: TrialInfo, model: str) -> ModelSamples:
    """Return the samples of one model of a measured trial."""
    metrics = (trial.metrics or {})[model]
    return ModelSamples(
        **{quantity: tuple(metrics[quantity].samples) if quantity in metrics else () for quantity in _SAMPLED}
    )


def recorded_value(
    trial: TrialInfo, objective: Objective, metrics: Mapping[str, Mapping[str, MetricInfo]] | None
) -> float | None:
    """Return a trial's value of an objective: the peak in bytes, what its settings determine, or the median of a
    quantity of `metrics`, which are the trial's own or its screening. None where it is missing."""
    if objective.name == VRAM_PEAK:
        return float(trial.vram.peak_bytes) if trial.vram is not None else 0.0  # on the CPU, in every trial
    if objective.is_set and objective.subject in trial.settings:
        return objective.of_settings(trial.settings[objective.subject])
    metric = (metrics or {}).get(objective.subject, {}).get(objective.quantity)
    return None if metric is None else metric.median


def _check_rates(key: str, metrics: Mapping[str, MetricInfo]) -> None:
    for quantity in _RATES & metrics.keys():
        for sample in metrics[quantity].samples:
            if not _LEAST <= sample <= _MOST:
                raise ValueError(f"{key}.{quantity} has a sample {sample}, which is no rate and no time")
