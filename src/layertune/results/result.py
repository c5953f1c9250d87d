"""result.json, schema version 1: a finished study as other machines and tools read it.

The fields are those of the design's section "result.json"; what has been added since is optional.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from layertune.errors import ResultFileError, UsageError
from layertune.results.study_file import write_study_file
from layertune.results.trial_info import Engine, OfDevices, Part, TrialInfo
from layertune.units import quoted

__all__ = [
    "FILE_NAME",
    "SCHEMA_VERSION",
    "BudgetInfo",
    "CpuInfo",
    "DeviceInfo",
    "HardwareInfo",
    "HostLimitsInfo",
    "LlamaCpp",
    "ModelInfo",
    "ObjectiveInfo",
    "Result",
    "StudyInfo",
    "TrialInfo",
    "WorkloadInfo",
    "load_result",
    "write_result",
]

SCHEMA_VERSION: Literal[1] = 1
FILE_NAME = "result.json"
_REMEDY = "give a study folder that layertune search has written, or a result.json"

# As the config has it: exports make variable names of it, so a result from elsewhere must not bring other ones.
ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class LlamaCpp(Part):
    version: str
    commit: str


class StudyInfo(Part):
    name: str
    created: str
    sampler: str
    seed: int
    layertune_version: str
    llama_cpp: LlamaCpp


class DeviceInfo(Part):
    kind: Literal["gpu", "emulated", "cpu"]
    name: str
    vram_bytes: int | None
    driver: str | None
    # An emulated card's threads; not in its repr, of which the fingerprints of earlier results are made.
    n_threads: int | None = Field(default=None, ge=1, repr=False)


class CpuInfo(Part):
    model: str
    n_cores: int


class HardwareInfo(Part):
    fingerprint: str
    device: DeviceInfo
    cpu: CpuInfo
    ram_bytes: int


class ModelInfo(Part):
    file: str
    sha256: str
    architecture: str
    n_layer: int
    file_bytes: int
    quantization: str | None


class WorkloadInfo(Part):
    n_prompt: int
    n_generate: int


class BudgetInfo(OfDevices):
    """`devices` is the budget of each of several devices; `vram_bytes` is then that of all, the margin each one's."""

    vram_bytes: int | None
    margin_bytes: int
    devices: list[int] | None = None

    def capacity_bytes(self) -> int | None:
        """Return what a trial may take of all devices, None where there is no limit."""
        n_devices = 1 if self.devices is None else len(self.devices)
        return None if self.vram_bytes is None else self.vram_bytes - n_devices * self.margin_bytes


class HostLimitsInfo(Part):
    """What each model's container may use of the host; None is all of it."""

    n_cpus: int | None = Field(ge=1)
    ram_per_model_bytes: int | None = Field(ge=0)


class ObjectiveInfo(Part):
    name: str
    direction: Literal["maximize", "minimize"]


class PlanInfo(Part):
    """What was known of memory before the first trial, and what trials corrected it by, in bytes."""

    n_settings: int
    n_feasible: int
    overhead_bytes: int
    headroom_bytes: int
    n_trials: int
    room_bytes: int | None = None  # for buffers, of all devices: without margin, overheads and headroom


class ComparisonInfo(Part):
    """The ratio and its 95 % interval; a difference is clear where the interval leaves out 1."""

    ratio: float
    low: float | None
    high: float | None
    clear: bool


class BaselineInfo(Part):
    """A setting to beat, the trial that measured it, and what it needs by plan; None where there is none.

    `balanced` is how many times as fast the balanced pick is, by model, measured in the same rounds.
    """

    settings: dict[str, Engine] | None
    trial: int | None
    planned_bytes: int | None
    note: str
    balanced: dict[str, ComparisonInfo] = Field(default_factory=dict)


class ReferenceInfo(Part):
    """The reference setting measured after `n_trials` trials: tokens/s by model, and relative to the first time."""

    n_trials: int
    tokens_per_s: dict[str, float]
    relative: dict[str, float]


class ClockInfo(Part):
    """Where the seconds of the last run went. `overhead_s` is everything that was not llama.cpp's work."""

    wall_s: float
    load_s: float
    warm_up_s: float
    measure_s: float
    unload_s: float
    overhead_s: float


class Result(Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    study: StudyInfo
    hardware: HardwareInfo
    models: dict[ModelName, ModelInfo]
    workload: dict[str, WorkloadInfo]
    budget: BudgetInfo
    host_limits: HostLimitsInfo | None = None
    objectives: list[ObjectiveInfo]
    plan: PlanInfo | None = None
    baselines: dict[str, BaselineInfo] = Field(default_factory=dict)
    floors: list[str] = Field(default_factory=list)
    weights: dict[str, float] = Field(default_factory=dict)
    stopped: str | None = None
    decided: bool | None = None  # whether the finals left nothing of the choice to noise
    trials: list[TrialInfo]
    pareto: list[int]
    picks: dict[str, int]
    references: list[ReferenceInfo] = Field(default_factory=list)
    clock: ClockInfo | None = None

    @model_validator(mode="after")
    def _check_whole(self) -> "Result":
        if self.workload.keys() != self.models.keys():
            raise ValueError("workload and models do not name the same models")
        for trial in self.trials:
            if trial.settings.keys() != self.models.keys():
                raise ValueError(f"trial {trial.number} and models do not name the same models")
        measured = {trial.number for trial in self.trials if trial.state == "measured"}
        for number in (*self.pareto, *self.picks.values()):
            if number not in measured:
                raise ValueError(f"pareto and picks name trial {number}, which is no measured trial")
        return self

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
        if pick.isascii() and pick.isdigit() and len(pick) < 10:
            trial = self.trial(int(pick))
        elif pick in self.picks:
            trial = self.trial(self.picks[pick])
        else:
            there = ", ".join(self.picks) or "none: no measured trial keeps the budget"
            remedy = f"choose a trial's number or one of {there}"
            raise UsageError(f"{quoted(pick)} is not a pick of this study", remedy=remedy)
        if trial.state != "measured":
            raise UsageError(f"trial {trial.number} was not measured: {trial.reason}", remedy="choose a measured one")
        return trial


def write_result(result: Result, path: Path) -> None:
    """Raises StorageError where the file cannot be written."""
    # ASCII only: a file name that is no UTF-8 has halves of characters in it, which JSON can only hold escaped.
    write_study_file(path, json.dumps(result.model_dump(mode="json"), indent=1) + "\n")


def load_result(path: Path) -> Result:
    """Read a study folder's result, or a result.json brought from another machine.

    Raises:
        ResultFileError: it is missing, is not a result, or was made by a newer layertune.
    """
    file = path
    try:
        file = path / FILE_NAME if path.is_dir() else path
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ResultFileError(f"cannot read {file}: {error.strerror}", remedy=_REMEDY) from error
    except (ValueError, RecursionError) as error:  # the decoder recurses once per bracket
        raise ResultFileError(f"{file} is not JSON: {error}", remedy=_REMEDY) from error
    return parse_result(data, file.as_posix())


def parse_result(data: Any, file: str) -> Result:
    """Return the result that decoded JSON is; `file` says in errors where it is from.

    Raises:
        ResultFileError: it is no result, or was made by a newer layertune.
    """
    _check_version(data, file)
    try:
        return Result.model_validate(data)
    except ValidationError as error:
        raise ResultFileError(f"{file} is not a layertune result: {_first_problem(error)}", remedy=_REMEDY) from error


def _check_version(data: Any, file: str) -> None:
    """Speak of the version before any other key: a result of another version has other ones."""
    if not isinstance(data, dict):
        raise ResultFileError(f"{file} is not a layertune result: it is no JSON object")
    version = data.get("schema_version")
    if not isinstance(version, int):
        raise ResultFileError(f"{file} is not a layertune result: schema_version is no number or missing")
    if version > SCHEMA_VERSION:
        raise ResultFileError(
            f"{file} was made by a newer layertune (schema version {version})", remedy="update layertune to read it"
        )


def _first_problem(error: ValidationError) -> str:
    """Name the key and what is wrong with it, in one line whatever the file's keys hold."""
    problem = error.errors(include_url=False)[0]
    words = [".".join(str(part) for part in problem["loc"]), problem["msg"].removeprefix("Value error, ")]
    text = ": ".join(word for word in words if word)
    return "".join(char if char.isprintable() else "?" for char in text)
