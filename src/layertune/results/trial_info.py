"""One trial as result.json tells it."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from layertune.results.figures import Bytes, BytesMore, BytesOver, Count, Engine, Figure, NotNegative, Number

# What every measured trial has; `tpot_s` came later, and both latencies beside a prefill are not of every trial.
METRICS = frozenset(("pp_tokens_per_s", "tg_tokens_per_s", "ttft_s", "tokens_per_s", "tokens_per_s_together"))

# Rates and times are never 0, and a sum or a ratio of them never overflows.
_LEAST, _MOST = 1e-9, 1e12
_RATES = METRICS | {"tpot_s", "ttft_s_beside_prefill", "tpot_s_beside_prefill"}

# When a figure was measured: in the search itself, in the rounds that chose, in those after the choice.
MeasuredIn = Literal["search", "finals", "confirming"]


class Part(BaseModel):
    """Unknown fields are kept out silently: a newer layertune of the same schema version may have added some."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class OfDevices(Part):
    """What tells of several devices one by one, and of one has no key for it."""

    @model_serializer(mode="wrap")
    def _without_devices(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = dump(self)
        return {key: value for key, value in told.items() if key != "devices" or value is not None}


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
    """The device at the end of a phase: what was in use, what of it the plan knows, and what is left over, in bytes."""

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
    """`planned_bytes` are all models' buffers by plan; `unaccounted_bytes` the peak without llama.cpp's own buffers. Of
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
    """Return the last stage in which all of the trials were measured: the figures that chose a winner have luck in
    them. Of no trials it is the last one there is."""
    order: tuple[MeasuredIn, ...] = ("search", "finals", "confirming")
    return min((trial.last_measured_in() for trial in trials), key=order.index, default="confirming")


class TrialInfo(Part):
    """`metrics`, `vram` and `host` are there where the trial was measured; `violations` in bytes over each limit.

    A finalist's `metrics` are those of its `n_rounds` rounds of the finals, samples in the order of the rounds; what
    the search measured first is in `screening`. What the finals chose was measured in `n_confirming` rounds more: its
    `metrics` are of these, and those of the finals in `finals`. `tied_with` is the trial that stands for it
    on the front. `flash_attn` says by model what llama.cpp made of "auto", where it said so. `load_s` is how long each
    model's weights and context took to load, its file in the page cache, once for every measurement; weights that
    stayed loaded from the measurement before count with the load that brought them.
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
                if lacking := METRICS - metrics.keys():
                    raise ValueError(f"{key}.{name} lacks {', '.join(sorted(lacking))}")
                _check_rates(f"{key}.{name}", metrics)
        return self

    def n_all_rounds(self) -> int:
        """Return in how many rounds it was measured again: the more, the surer its figures."""
        return self.n_rounds + self.n_confirming

    def last_measured_in(self) -> MeasuredIn:
        """Return what `metrics` are of."""
        return "confirming" if self.n_confirming else "finals" if self.n_rounds else "search"

    def metrics_of(self, measured_in: MeasuredIn) -> dict[str, dict[str, MetricInfo]] | None:
        """Return the figures that were measured then, None where there are none."""
        if measured_in == self.last_measured_in():
            return self.metrics
        return {"search": self.screening, "finals": self.finals, "confirming": None}[measured_in]

    def exceeded(self) -> dict[str, float]:
        """Return the limits that the trial does not keep, and by how many bytes."""
        return {name: excess_bytes for name, excess_bytes in self.violations.items() if excess_bytes > 0}


def _check_rates(key: str, metrics: Mapping[str, MetricInfo]) -> None:
    for quantity in _RATES & metrics.keys():
        for sample in metrics[quantity].samples:
            if not _LEAST <= sample <= _MOST:
                raise ValueError(f"{key}.{quantity} has a sample {sample}, which is no rate and no time")
