"""result.json, schema version 1: a finished study as other machines and tools read it.

The fields are those of the design's section "result.json"; what has been added since is optional.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from layertune.errors import ResultFileError, StorageError, UsageError
from layertune.regular_files import RESULT_BYTES, is_folder, read_text
from layertune.results.figures import NotNegative, Number
from layertune.results.study_info import (
    BaselineInfo,
    BudgetInfo,
    ClockInfo,
    ComparisonInfo,
    CpuInfo,
    DeviceInfo,
    FileName,
    HardwareInfo,
    HostLimitsInfo,
    LlamaCpp,
    ModelInfo,
    ObjectiveInfo,
    PlanInfo,
    PriceInfo,
    QualityInfo,
    ReferenceInfo,
    StudyInfo,
    WorkloadInfo,
    files_of,
    variants,
)
from layertune.results.trial_info import Part, TrialInfo, is_disturbed
from layertune.settings import EngineSettings, variant
from layertune.units import quoted
from layertune.written_files import write_text

__all__ = [
    "FILE_NAME",
    "RESUME",
    "SCHEMA_VERSION",
    "BaselineInfo",
    "BudgetInfo",
    "ClockInfo",
    "ComparisonInfo",
    "CpuInfo",
    "DeviceInfo",
    "HardwareInfo",
    "HostLimitsInfo",
    "LlamaCpp",
    "ModelInfo",
    "ObjectiveInfo",
    "PlanInfo",
    "QualityInfo",
    "ReferenceInfo",
    "Result",
    "StudyInfo",
    "TrialInfo",
    "WorkloadInfo",
    "read_result",
    "write_result",
]

SCHEMA_VERSION: Literal[1] = 1
FILE_NAME = "result.json"
RESUME = "make room there, then run the same command with --resume: all finished trials are kept"
_REMEDY = "give a study folder that layertune search has written, or a result.json"

# As the config has it: exports make variable names of it, so a result from elsewhere must not bring other ones.
ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Result(Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    study: StudyInfo
    hardware: HardwareInfo
    models: dict[ModelName, ModelInfo] = Field(min_length=1)
    files: dict[str, dict[FileName, ModelInfo]] = Field(default_factory=dict)  # of models that have several
    quality: dict[str, list[QualityInfo]] = Field(default_factory=dict)  # of models with several files or cache types
    workload: dict[str, WorkloadInfo]
    budget: BudgetInfo
    host_limits: HostLimitsInfo | None = None
    objectives: list[ObjectiveInfo] = Field(min_length=1)
    plan: PlanInfo | None = None
    baselines: dict[str, BaselineInfo] = Field(default_factory=dict)
    floors: list[str] = Field(default_factory=list)
    weights: dict[str, NotNegative] = Field(default_factory=dict)
    stopped: str | None = None
    decided: bool | None = None  # whether the finals left nothing of the choice to noise
    trials: list[TrialInfo]
    pareto: list[Number]
    picks: dict[str, Number]
    prices: list[PriceInfo] = Field(default_factory=list)  # of picks that do not load the reference files
    references: list[ReferenceInfo] = Field(default_factory=list)
    clock: ClockInfo | None = None

    @model_serializer(mode="wrap")
    def _without_no_files(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A study whose models have one file each is written as before there could be several."""
        written: dict[str, Any] = write(self)
        return {key: each for key, each in written.items() if each or key not in ("files", "quality", "prices")}

    @model_validator(mode="after")
    def _check_whole(self) -> "Result":
        if self.workload.keys() != self.models.keys():
            raise ValueError("workload and models do not name the same models")
        for trial in self.trials:
            self._check_trial(trial)
        numbers = [trial.number for trial in self.trials]
        for key, named in (("trials", numbers), ("pareto", self.pareto)):
            if len(set(named)) < len(named):
                raise ValueError(f"{key} has a trial's number twice")
        measured = {trial.number for trial in self.trials if trial.state == "measured"}
        for number in (*self.pareto, *self.picks.values()):
            if number not in measured:
                raise ValueError(f"pareto and picks name trial {number}, which is no measured trial")
        self._check_references(numbers)
        return self

    def _check_trial(self, trial: TrialInfo) -> None:
        if trial.settings.keys() != self.models.keys():
            raise ValueError(f"trial {trial.number} and models do not name the same models")
        for key in ("screening", "buffers", "planned", "flash_attn", "load_s"):
            if unknown := (getattr(trial, key) or {}).keys() - self.models.keys():
                raise ValueError(f"trial {trial.number}: {key} names {min(unknown)}, which is no model of the study")
        n_devices = 1 if self.budget.devices is None else len(self.budget.devices)
        for name, engine in trial.settings.items():
            self._check_engine(f"trial {trial.number}", name, engine)
        devices = None if trial.vram is None else trial.vram.devices
        if devices is not None and len(devices) != n_devices:
            raise ValueError(
                f"trial {trial.number} has memory of {len(devices)} devices, and the study has {n_devices}"
            )

    def _check_references(self, numbers: Collection[int]) -> None:
        for trial in self.trials:
            if trial.tied_with is not None and trial.tied_with not in numbers:
                raise ValueError(f"trial {trial.number} is tied with trial {trial.tied_with}, which is not there")
        for price in self.prices:
            if not {price.trial, price.reference_trial} <= set(numbers):
                raise ValueError(f"prices name trial {price.trial} or {price.reference_trial}, which is not there")
        for name, baseline in self.baselines.items():
            if baseline.trial is not None and baseline.trial not in numbers:
                raise ValueError(f"baselines.{name} names trial {baseline.trial}, which is not there")
            if baseline.settings is not None and baseline.settings.keys() != self.models.keys():
                raise ValueError(f"baselines.{name} and models do not name the same models")
            for model, engine in (baseline.settings or {}).items():
                self._check_engine(f"baselines.{name}", model, engine)

    def _check_engine(self, where: str, model: str, engine: EngineSettings) -> None:
        if variant(model, engine.file) not in self.variants():
            raise ValueError(f"{where}: {model} has no file {quoted(engine.file)}")
        n_split, devices = len(engine.tensor_split), self.budget.devices
        if n_split and n_split != len(devices or ()):
            raise ValueError(f"{where}: {model} is split over {n_split} devices, which the study does not have")

    def variants(self) -> dict[str, ModelInfo]:
        """Return the models with each of their files, by `variant`."""
        return variants(self.models, self.files)

    def model_of(self, name: str, engine: EngineSettings) -> ModelInfo:
        """Return a model with the file that an engine loads."""
        return self.files.get(name, {}).get(engine.file, self.models[name])

    def with_files_of(self, trial: TrialInfo) -> "Result":
        """Return the study as if each model had only the file that this trial loads."""
        if not self.files:
            return self
        files = files_of(trial.settings)
        models = {name: self.model_of(name, engine) for name, engine in trial.settings.items()}
        trials = [each for each in self.trials if files_of(each.settings) == files]
        baselines = {
            name: each
            for name, each in self.baselines.items()
            if each.settings is None or files_of(each.settings) == files
        }
        return self.model_copy(update={"models": models, "files": {}, "trials": trials, "baselines": baselines})

    def canonical(self, name: str, engine: EngineSettings) -> EngineSettings:
        """Return the settings that llama.cpp uses in effect for an engine of a model."""
        return engine.canonical(self.model_of(name, engine).n_layer)

    def quality_of(self, name: str, engine: EngineSettings) -> QualityInfo | None:
        """Return the quality of an engine's file and cache types; None where it was not measured."""
        file = self.model_of(name, engine).file
        wanted = file, engine.type_k, engine.type_v
        return next(
            (each for each in self.quality.get(name, ()) if (each.file, each.type_k, each.type_v) == wanted), None
        )

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


def quiet_trials(result: Result) -> Sequence[TrialInfo]:
    """Return the measured trials that nothing disturbed: one that stayed disturbed may be slow by any factor."""
    return [trial for trial in result.trials if trial.metrics is not None and not is_disturbed(trial)]


def write_study_file(path: Path, text: str) -> None:
    """Write a text file of a study folder; it is whole, or as it was.

    Raises:
        StorageError: the file cannot be written there.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", remedy=RESUME) from error


def write_result(result: Result, path: Path) -> None:
    """Raises StorageError where the file cannot be written."""
    # ASCII only: a file name that is no UTF-8 has halves of characters in it, which JSON can only hold escaped.
    write_study_file(path, json.dumps(result.model_dump(mode="json"), indent=1) + "\n")


def read_result(path: Path) -> Result:
    """Read a study folder's result, or a result.json brought from another machine.

    Raises:
        ResultFileError: it is missing, is not a result, or was made by a newer layertune.
    """
    file = path / FILE_NAME if is_folder(path) else path
    try:
        data = json.loads(read_text(file, RESULT_BYTES))
    except OSError as error:
        raise ResultFileError(f"cannot read {file}: {error.strerror}", remedy=_REMEDY) from error
    except (ValueError, RecursionError) as error:  # the decoder recurses once per bracket
        raise ResultFileError(f"{file} is not JSON: {error}", remedy=_REMEDY) from error
    return parse_result(data, file.as_posix())


def parse_result(data: Any, file: str) -> Result:
    """Return the result that decoded JSON is; errors name `file`.

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
