"""Command line options that change a config, or replace it."""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

from layertune.config import StudyConfig, load_config, parse_config
from layertune.config.model_config import AUTO
from layertune.config.study_config import PRESETS
from layertune.errors import UsageError
from layertune.regular_files import is_there

_COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Overrides:
    """The options as the user wrote them; `models` and `settings` are `NAME=VALUE`.

    In `shared` storage the study has its folder's name, so that machines of one kind can use the same name.
    `no_quality` leaves the quality of files unmeasured.
    """

    models: list[str]
    budget: str | None
    device: str | None
    settings: list[str]
    n_trials: int | None = None
    timeout: str | None = None
    sampler: str | None = None
    seed: int | None = None
    folder: Path | None = None
    warm_start: Path | None = None
    shared: bool = False
    preset: str | None = None
    no_quality: bool = False


def preset_of(*, quick: bool, thorough: bool) -> str | None:
    """Return the preset that the options name; None without one.

    Raises:
        UsageError: both are given.
    """
    if quick and thorough:
        raise UsageError("--quick and --thorough contradict each other", remedy="leave one of them out")
    return "quick" if quick else "thorough" if thorough else None


def study_config(path: Path | None, overrides: Overrides) -> StudyConfig:
    """Return the config of a study: the file's, changed by the options.

    Raises:
        UsageError: neither a config nor a model is given, or an option is malformed.
        ConfigError: the file or the resulting config is wrong.
    """
    if path is None and not overrides.models:
        raise UsageError("no model is given", remedy="give a CONFIG, or --model chat=a.gguf --model code=b.gguf")
    table: dict[str, Any] = {"models": {}}
    if path is not None:
        table = load_config(path).model_dump(mode="json", exclude_none=True, exclude_unset=True)
    for name, written in model_options(overrides).items():
        model = table["models"].setdefault(name, {})
        model.pop("path", None)
        model.pop("files", None)
        model.update(_files(name, written))
    for target, written in _pairs(overrides.settings, "--set", "code.n_gpu_layers=20").items():
        _fix(table, target, written)
    search = table.setdefault("search", {})
    if overrides.preset is not None:
        search["preset"] = overrides.preset
        for section_name, values in PRESETS[overrides.preset].items():  # an option wins over the file's keys
            table.setdefault(section_name, {}).update(values)
    for section, key, value in (
        (table.setdefault("budget", {}), "vram", overrides.budget),
        (table, "device", overrides.device),
        (table, "seed", overrides.seed),
        (search, "n_trials", overrides.n_trials),
        (search, "timeout", overrides.timeout),
        (search, "sampler", overrides.sampler),
        (table.setdefault("quality", {}), "measure", False if overrides.no_quality else None),
        (search, "warm_start", None if overrides.warm_start is None else str(Path.cwd() / overrides.warm_start)),
    ):
        if value is not None:
            section[key] = value
    if overrides.sampler not in (None, "layer-split"):
        search.pop("warm_start", None)  # from the config; another sampler cannot use it
    folder = overrides.folder
    if folder is not None and (path is None or (overrides.shared and path.parent != folder)):
        table["name"] = Path(os.path.realpath(folder)).name
    return parse_config(table, source=_COMMAND_LINE if path is None else f"{path} with options", folder=Path())


def model_options(overrides: Overrides) -> dict[str, str]:
    """Return the paths of `--model NAME=PATH` by name.

    Raises:
        UsageError: an option is malformed.
    """
    return _pairs(overrides.models, "--model", "chat=a.gguf")


def _files(name: str, written: str) -> dict[str, Any]:
    """Return the keys of a model's file, or of several: joined by commas, or a pattern."""
    if is_there(Path(written)) or not ("," in written or has_magic(written)):
        return {"path": str(Path.cwd() / written)}
    files = written.split(",")
    if not all(files):
        raise UsageError(
            f"--model {name}={written} has a file without a name", remedy="write it like code=a.gguf,b.gguf"
        )
    return {"files": [str(Path.cwd() / file) for file in files]}


def _fix(table: dict[str, Any], target: str, value: str) -> None:
    model, _, key = target.partition(".")
    if model not in table["models"] or not key:
        models = ", ".join(table["models"])
        raise UsageError(f"--set {target}={value}: there is no model {model!r}", remedy=f"the models are {models}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.split(",") if key == "file" and "," in value else value  # bare words, like q8_0 or A.gguf,B.gguf
    space = table["models"][model].setdefault("space", AUTO)
    table["models"][model]["space"] = ({"auto": True} if space == AUTO else space) | {key: parsed}


def _pairs(options: Sequence[str], flag: str, example: str) -> dict[str, str]:
    """Return the values of a repeatable option by name; a name may be given only once."""
    found: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals and value):
            what = "has no = in it" if not equals else "has nothing after =" if name else "has nothing before ="
            raise UsageError(f"{flag} {option} {what}", remedy=f"write it like {flag} {example}")
        if name in found:
            raise UsageError(f"{flag} {name} is given twice, {found[name]} and {value}", remedy="leave one of them out")
        found[name] = value
    return found
