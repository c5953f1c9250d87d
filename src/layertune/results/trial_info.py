"""One trial as result.json tells it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from layertune.config.objective import MODEL_QUANTITIES
from layertune.settings import EngineSettings

METRICS = frozenset(MODEL_QUANTITIES) - {"n_ctx"}  # a setting, not measured


class Part(BaseModel):
    """Unknown fields are kept out silently: a newer layertune of the same schema version may have added some."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class MetricInfo(Part):
    median: float
    mad: float
    n: int
    samples: list[float]


class VramInfo(Part):
    """`planned_bytes` are all models' buffers by plan; `unaccounted_bytes` the peak without llama.cpp's own buffers."""

    peak_bytes: int
    baseline_bytes: int
    planned_bytes: int | None
    unaccounted_bytes: int | None = None
    scope: str
    source: str
    phases: dict[str, int] = Field(default_factory=dict)


class HostInfo(Part):
    peak_rss_bytes: int


class BufferInfo(Part):
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    output_bytes: int


class TrialInfo(Part):
    """`metrics`, `vram` and `host` are there where the trial was measured; `violations` in bytes over each limit."""

    number: int = Field(ge=0)
    state: Literal["measured", "infeasible", "failed"]
    reason: str | None
    settings: dict[str, EngineSettings]
    metrics: dict[str, dict[str, MetricInfo]] | None
    vram: VramInfo | None
    host: HostInfo | None
    duration_s: float
    violations: dict[str, float] = Field(default_factory=dict)
    buffers: dict[str, dict[str, BufferInfo]] | None = None
    planned: dict[str, dict[str, BufferInfo]] | None = None
    warnings: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_whole(self) -> "TrialInfo":
        for name, engine in self.settings.items():
            if engine.n_gpu_layers < 0:
                raise ValueError(f"settings.{name}.n_gpu_layers is {engine.n_gpu_layers}; a count is 0 or more")
        if self.metrics is None:
            if self.state == "measured":
                raise ValueError("the trial was measured and has no metrics")
            return self
        if self.metrics.keys() != self.settings.keys():
            raise ValueError("metrics and settings do not name the same models")
        for name, metrics in self.metrics.items():
            if lacking := METRICS - metrics.keys():
                raise ValueError(f"metrics.{name} lacks {', '.join(sorted(lacking))}")
        return self

    def exceeded(self) -> dict[str, float]:
        """Return the limits that the trial does not keep, and by how many bytes."""
        return {name: excess_bytes for name, excess_bytes in self.violations.items() if excess_bytes > 0}
