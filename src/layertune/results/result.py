"""result.json, schema version 1: a finished study as other machines and tools read it.

The fields are those of the design's section "result.json"; what has been added since is optional.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from layertune.errors import ResultFileError, UsageError
from layertune.settings import EngineSettings

SCHEMA_VERSION: Literal[1] = 1
FILE_NAME = "result.json"


class _Part(BaseModel):
    """Unknown fields are kept out silently: a newer layertune of the same schema version may have added some."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class LlamaCpp(_Part):
    version: str
    commit: str


class StudyInfo(_Part):
    name: str
    created: str
    sampler: str
    seed: int
    layertune_version: str
    llama_cpp: LlamaCpp


class DeviceInfo(_Part):
    kind: Literal["gpu", "emulated", "cpu"]
    name: str
    vram_bytes: int | None
    driver: str | None


class CpuInfo(_Part):
    model: str
    n_cores: int


class HardwareInfo(_Part):
    fingerprint: str
    device: DeviceInfo
    cpu: CpuInfo
    ram_bytes: int


class ModelInfo(_Part):
    file: str
    sha256: str
    architecture: str
    n_layer: int
    file_bytes: int
    quantization: str | None


class WorkloadInfo(_Part):
    n_prompt: int
    n_generate: int


class BudgetInfo(_Part):
    vram_bytes: int | None
    margin_bytes: int


class ObjectiveInfo(_Part):
    name: str
    direction: Literal["maximize", "minimize"]


class MetricInfo(_Part):
    median: float
    mad: float
    n: int
    samples: list[float]


class VramInfo(_Part):
    peak_bytes: int
    baseline_bytes: int
    planned_bytes: int | None
    scope: str
    source: str
    phases: dict[str, int] = Field(default_factory=dict)


class HostInfo(_Part):
    peak_rss_bytes: int


class BufferInfo(_Part):
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    output_bytes: int


class TrialInfo(_Part):
    """`metrics`, `vram` and `host` are there where the trial was measured; `violations` in bytes over each limit."""

    number: int
    state: Literal["measured", "infeasible", "failed"]
    reason: str | None
    settings: dict[str, EngineSettings]
    metrics: dict[str, dict[str, MetricInfo]] | None
    vram: VramInfo | None
    host: HostInfo | None
    duration_s: float
    violations: dict[str, float] = Field(default_factory=dict)
    buffers: dict[str, dict[str, BufferInfo]] | None = None
    warnings: list[str] = Field(default_factory=list)


def _known_version(version: Any) -> Any:
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ValueError(f"made by a newer layertune (schema version {version}); update layertune to read it")
    return version


class Result(_Part):
    schema_version: Annotated[Literal[1], BeforeValidator(_known_version)] = SCHEMA_VERSION
    study: StudyInfo
    hardware: HardwareInfo
    models: dict[str, ModelInfo]
    workload: dict[str, WorkloadInfo]
    budget: BudgetInfo
    objectives: list[ObjectiveInfo]
    trials: list[TrialInfo]
    pareto: list[int]
    picks: dict[str, int]

    def trial(self, number: int) -> TrialInfo:
        """Raises UsageError where the study has no such trial."""
        for trial in self.trials:
            if trial.number == number:
                return trial
        raise UsageError(f"the study has no trial {number}", remedy=f"it has {len(self.trials)} finished trials")

    def picked(self, pick: str) -> TrialInfo:
        """Return the trial that `pick` names: balanced, lean, a model's name, or a trial's number.

        Raises:
            UsageError: there is no such pick, or that trial has no figures.
        """
        if pick.isascii() and pick.isdigit():
            trial = self.trial(int(pick))
        elif pick in self.picks:
            trial = self.trial(self.picks[pick])
        else:
            there = ", ".join(self.picks) or "none: no measured trial keeps the budget"
            raise UsageError(
                f"{pick!r} is not a pick of this study", remedy=f"choose a trial's number or one of {there}"
            )
        if trial.state != "measured":
            raise UsageError(f"trial {trial.number} was not measured: {trial.reason}", remedy="choose a measured one")
        return trial


def write_result(result: Result, path: Path) -> None:
    """Write the file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(result.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_result(path: Path) -> Result:
    """Read a study folder's result, or a result.json brought from another machine.

    Raises:
        ResultFileError: it is missing, is not a result, or was made by a newer layertune.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return Result.model_validate(data)
    except OSError as error:
        remedy = "give a study folder that layertune search has written, or a result.json"
        raise ResultFileError(f"cannot read {file}: {error.strerror}", remedy=remedy) from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise ResultFileError(f"{file} is not a layertune result: {key}: {message}") from error
    except ValueError as error:
        raise ResultFileError(f"{file} is not JSON: {error}") from error
