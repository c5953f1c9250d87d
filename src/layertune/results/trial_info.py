"""One trial as result.json tells it."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from layertune.settings import EngineSettings, parse_tensor_split

# What every measured trial has; `tpot_s` came later, and both latencies beside a prefill are not of every trial.
METRICS = frozenset(("pp_tokens_per_s", "tg_tokens_per_s", "ttft_s", "tokens_per_s", "tokens_per_s_together"))

_MAY_BE_ZERO = frozenset(("n_gpu_layers", "n_cpu_moe"))


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


# With one device tensor_split is no setting, and no key.
Engine = Annotated[EngineSettings, PlainSerializer(EngineSettings.as_dict)]


class MetricInfo(Part):
    """`low` and `high` are the 95 % interval of the median, of a finalist over its rounds."""

    median: float
    mad: float
    n: int
    samples: list[float]
    low: float | None = None
    high: float | None = None


class PhaseInfo(Part):
    """The device at the end of a phase: what was in use, what of it the plan knows, and what is left over, in bytes."""

    used_bytes: int
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    unaccounted_bytes: int


class SamplingInfo(Part):
    interval_s: float
    n_samples: int
    n_missed: int
    cost_s: float


class DeviceVramInfo(Part):
    """One of several devices."""

    peak_bytes: int
    baseline_bytes: int
    planned_bytes: int | None


class VramInfo(OfDevices):
    """`planned_bytes` are all models' buffers by plan; `unaccounted_bytes` the peak without llama.cpp's own buffers. Of
    several `devices` all figures are sums, that of the peak of each one's own."""

    peak_bytes: int
    baseline_bytes: int
    planned_bytes: int | None
    unaccounted_bytes: int | None = None
    scope: str
    source: str
    phases: dict[str, int] = Field(default_factory=dict)
    split: dict[str, PhaseInfo] = Field(default_factory=dict)
    foreign_bytes: int | None = None
    sampling: SamplingInfo | None = None
    devices: list[DeviceVramInfo] | None = None


class HostInfo(Part):
    peak_rss_bytes: int


class BufferInfo(Part):
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    output_bytes: int


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

    number: int = Field(ge=0)
    state: Literal["measured", "infeasible", "failed"]
    reason: str | None
    settings: dict[str, Engine]
    metrics: dict[str, dict[str, MetricInfo]] | None
    vram: VramInfo | None
    host: HostInfo | None
    duration_s: float
    violations: dict[str, float] = Field(default_factory=dict)
    buffers: dict[str, dict[str, BufferInfo]] | None = None
    planned: dict[str, dict[str, BufferInfo]] | None = None
    warnings: list[str] = Field(default_factory=list)
    n_rounds: int = 0
    n_confirming: int = 0
    screening: dict[str, dict[str, MetricInfo]] | None = None
    finals: dict[str, dict[str, MetricInfo]] | None = None
    tied_with: int | None = None
    flash_attn: dict[str, bool] = Field(default_factory=dict)
    load_s: dict[str, MetricInfo] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_whole(self) -> "TrialInfo":
        for name, engine in self.settings.items():
            for field, value in engine.as_dict().items():
                least = 0 if field in _MAY_BE_ZERO else 1
                if isinstance(value, int) and value < least:
                    raise ValueError(f"settings.{name}.{field} is {value}; it is {least} or more")
            if engine.tensor_split:
                parse_tensor_split(engine.tensor_split)
        if self.metrics is None and self.state == "measured":
            raise ValueError("the trial was measured and has no metrics")
        for key, measured in (("metrics", self.metrics), ("finals", self.finals)):
            if measured is None:
                continue
            if measured.keys() != self.settings.keys():
                raise ValueError(f"{key} and settings do not name the same models")
            for name, metrics in measured.items():
                if lacking := METRICS - metrics.keys():
                    raise ValueError(f"{key}.{name} lacks {', '.join(sorted(lacking))}")
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
