"""The models under verification: a pick's models with their exported flags, changed by the variables of a `.env`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from layertune.errors import ConfigError
from layertune.export.flags import ENV_SETTINGS, Flag, server_flags
from layertune.results.result import Result, TrialInfo, WorkloadInfo
from layertune.settings import RANGES, TENSOR_OVERRIDES, EngineSettings, SplitSettings
from layertune.tensor_overrides import parse_tensor_overrides
from layertune.units import quoted

_ENGINE: TypeAdapter[EngineSettings] = TypeAdapter(EngineSettings)

_FILE, _CACHE_RAM, _CHECKPOINTS = "MODEL", "CACHE_RAM", "CTX_CHECKPOINTS"
_OTHERS = frozenset({_CACHE_RAM, _CHECKPOINTS, "PORT"})


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model: its file on this machine, its settings, llama-server's flags for them, and its workload.

    `sha256` (one for each part of a split model) and `n_layer` describe the files that the study measured.
    """

    name: str
    file: Path
    sha256: tuple[str, ...]
    n_layer: int
    settings: EngineSettings
    flags: tuple[Flag, ...]
    workload: WorkloadInfo


@dataclass(frozen=True, slots=True)
class Stack:
    """All models of a deployment. `trial` is the trial that measured exactly these settings, if there is one."""

    models: Mapping[str, ServedModel]
    trial: TrialInfo | None

    @property
    def settings(self) -> SplitSettings:
        return SplitSettings.of({name: model.settings for name, model in self.models.items()})


def stack_of(result: Result, pick: TrialInfo, folders: Mapping[str, Path], variables: Mapping[str, str]) -> Stack:
    """Return the exported models of `pick`; `variables` of a `.env` replace its values, as in docker compose.

    `folders` are the folders of the model files, by model.

    Raises:
        ConfigError: a variable has an invalid value.
    """
    result = result.with_files_of(pick)
    settings = {name: _settings(name, engine, variables) for name, engine in pick.settings.items()}
    changed = pick.model_copy(update={"settings": settings})
    models = {
        name: ServedModel(
            name,
            folders[name] / variables.get(f"{name.upper()}_{_FILE}", model.file),
            (model.sha256, *(model.further_sha256 or ())),
            model.n_layer,
            settings[name],
            tuple(_flag(flag, name, variables) for flag in server_flags(result, changed, name)),
            result.workload[name],
        )
        for name, model in result.models.items()
    }
    return Stack(models, _measured(result, pick, settings))


def unread(names: list[str], variables: Mapping[str, str]) -> list[str]:
    """Return the unknown variables that begin with a model's name; they are probably misspelled."""
    known = {f"{name.upper()}_{end}" for name in names for end in (_FILE, *ENV_SETTINGS, *_OTHERS)}
    begins = tuple(f"{name.upper()}_" for name in names)
    return [variable for variable in variables if variable.startswith(begins) and variable not in known]


def _settings(name: str, engine: EngineSettings, variables: Mapping[str, str]) -> EngineSettings:
    values = engine.as_dict()
    for end, field in ENV_SETTINGS.items():
        variable = f"{name.upper()}_{end}"
        if variable not in variables:
            continue
        written = variables[variable]
        if field in RANGES:
            values[field] = _number(variable, written, *RANGES[field])
        try:
            if field not in RANGES:
                values[field] = parse_tensor_overrides(written) if field == TENSOR_OVERRIDES else written
            _ENGINE.validate_python(values)
        except ValidationError as error:
            raise ConfigError(f"{variable} is {quoted(written)}", remedy=error.errors()[0]["msg"]) from error
        except ValueError as error:
            raise ConfigError(f"{variable} is {quoted(written)}", remedy=str(error)) from error
    for end in (_CACHE_RAM, _CHECKPOINTS):
        if (variable := f"{name.upper()}_{end}") in variables:
            _number(variable, variables[variable], -1, 2**31 - 1)
    return EngineSettings(**values)


def _number(variable: str, written: str, least: int, most: int) -> int:
    digits = written.removeprefix("-") if least < 0 else written
    if digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) and least <= int(written) <= most:
        return int(written)
    raise ConfigError(f"{variable} is {quoted(written)}", remedy=f"write a whole number from {least} to {most}")


def _flag(flag: Flag, name: str, variables: Mapping[str, str]) -> Flag:
    return flag if flag.key is None else replace(flag, value=variables.get(f"{name.upper()}_{flag.key}", flag.value))


def _measured(result: Result, pick: TrialInfo, settings: Mapping[str, EngineSettings]) -> TrialInfo | None:
    """Return the measured trial of these settings, preferably `pick`. "auto" is compared by its result."""
    wanted = _canonical(result, settings, pick.flash_attn)
    for trial in (pick, *result.trials):
        if trial.state == "measured" and _canonical(result, trial.settings, trial.flash_attn) == wanted:
            return trial
    return None


def _canonical(
    result: Result, settings: Mapping[str, EngineSettings], became: Mapping[str, bool]
) -> dict[str, EngineSettings]:
    found = {}
    for name, engine in settings.items():
        canonical = engine.canonical(result.models[name].n_layer)
        if canonical.flash_attn == "auto" and name in became:
            canonical = replace(canonical, flash_attn="on" if became[name] else "off")
        found[name] = canonical
    return found
