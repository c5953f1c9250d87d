"""Reads and writes a `StudyConfig` as TOML, with errors that name file, key and remedy."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from layertune.config.dimension import FORMS
from layertune.config.model_files import check_names, located, with_files
from layertune.config.study_config import StudyConfig
from layertune.errors import ConfigError
from layertune.regular_files import CONFIG_BYTES, read_text
from layertune.units import quoted

CONFIG_NAME = "study.toml"  # the resolved config in a study folder


def load_config(path: Path) -> StudyConfig:
    """Read a config file; paths in it are relative to the file.

    Raises:
        ConfigError: the file is missing or unreadable, is not TOML, or a key in it is wrong.
    """
    return parse_config(read_table(path, "a study config"), source=str(path), folder=path.parent)


def read_table(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file; `what` is named in the remedy, like "a study config".

    Raises:
        ConfigError: the file is missing or unreadable, or is not TOML.
    """
    try:
        text = read_text(path, CONFIG_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", remedy=f"give the path of {what}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", remedy=f"give the path of {what}") from error
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number with more digits than Python reads
        raise ConfigError(f"{path} is not TOML: {error}", remedy="fix that line") from error
    except RecursionError as error:
        raise ConfigError(
            f"{path} is not TOML: brackets are nested too deeply", remedy=f"give the path of {what}"
        ) from error


def parse_config(table: dict[str, Any], *, source: str = "config", folder: Path = Path()) -> StudyConfig:
    """Validate a config table, in the form of the TOML file.

    Args:
        table: the keys of docs/configuration.md.
        source: where the table comes from, for messages.
        folder: the folder that relative paths start from; by default the current one.

    Raises:
        ConfigError: a key is wrong; the message says what the first wrong one accepts.
    """
    try:
        config = StudyConfig.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"{source}: {first_problem(error)}") from error
    models = {name: with_files(f"{source}: models.{name}", folder, model) for name, model in config.models.items()}
    check_names(source, models)
    changes: dict[str, Any] = {"models": models}
    if config.quality.text is not None:
        text = located(f"{source}: quality.text", folder, config.quality.text)
        changes["quality"] = config.quality.model_copy(update={"text": text})
    warm_start = config.search.warm_start
    if warm_start is not None:
        changes["search"] = config.search.model_copy(
            update={"warm_start": located(f"{source}: search.warm_start", folder, warm_start)}
        )
    return config.model_copy(update=changes)


def dump_config(config: StudyConfig) -> str:
    """Return the resolved config as TOML: every key, including defaults."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def first_problem(error: ValidationError, docs: str = "docs/configuration.md") -> str:
    """Return a sentence on the first wrong key and what it accepts; `docs` is the file that lists the keys."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"] if part not in FORMS)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key}; see {docs} for the keys"
    if problem["type"] == "missing":
        return f"{key} is missing; add it"
    if problem["type"] == "too_short":
        return f"{key} is empty; give at least one value, or leave it out"
    if problem["type"] == "union_tag_invalid":
        return f"{key}: a range is for n_gpu_layers only; write a value or a list"
    if problem["type"] != "value_error" and not isinstance(problem["input"], (dict, list)):
        key = f"{key} = {quoted(problem['input'])}"
    return f"{key}: {message}" if key else message
