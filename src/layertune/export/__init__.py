"""Exports of a pick to other programs. An exporter returns the texts of its files by name and writes nothing.

`models_dir` is the folder of the model files on the machine that serves them.
"""

import json
from collections.abc import Callable

from layertune.errors import UsageError
from layertune.export import env
from layertune.export.case_study import COMPOSE_REPAIRS, pick_for_case_study, unread_variables
from layertune.export.compose import render_compose
from layertune.export.env import quote, render_env
from layertune.export.llama_server import render_llama_server
from layertune.export.llama_swap import render_llama_swap
from layertune.export.ollama import render_ollama
from layertune.export.paths import MODELS_DIR, check_names
from layertune.export.preset import render_preset
from layertune.export.systemd import render_systemd
from layertune.results.result import Result, TrialInfo

Exporter = Callable[[Result, TrialInfo, str], dict[str, str]]

JSON_NAME = "trial.json"


def render_json(result: Result, trial: TrialInfo) -> str:
    """Return one trial as JSON: its settings, its measurements and their origin."""
    record = {
        "study": result.study.model_dump(),
        "hardware": result.hardware.model_dump(),
        "models": {name: model.model_dump() for name, model in result.models.items()},
        "workload": {name: workload.model_dump() for name, workload in result.workload.items()},
        "budget": result.budget.model_dump(),
        "host_limits": None if result.host_limits is None else result.host_limits.model_dump(),
        "trial": trial.model_dump(mode="json"),
    }
    return json.dumps(record, indent=1) + "\n"


EXPORTERS: dict[str, Exporter] = {
    "env": lambda result, trial, _models_dir: {env.FILE_NAME: render_env(result, trial)},
    "compose": render_compose,
    "llama-server": render_llama_server,
    "preset": render_preset,
    "llama-swap": render_llama_swap,
    "ollama": render_ollama,
    "systemd": render_systemd,
    "json": lambda result, trial, _models_dir: {JSON_NAME: render_json(result, trial)},
}


def export_files(
    result: Result, format: str = "env", pick: str = "balanced", models_dir: str = MODELS_DIR
) -> dict[str, str]:
    """Return the text of each file of an export, by name. Nothing is written.

    Args:
        result: a study's result.
        format: one of EXPORTERS: env, compose, llama-server, preset, llama-swap, ollama, systemd or json.
        pick: balanced, lean, a model's name, or a trial's number.
        models_dir: folder of the model files on the machine that serves them.

    Raises:
        UsageError: the format or pick does not exist, or the format cannot hold a file name.
    """
    check_format(format)
    return export_trial(result, result.picked(pick), format, models_dir)


def export_trial(result: Result, trial: TrialInfo, format: str, models_dir: str = MODELS_DIR) -> dict[str, str]:
    """Return the text of each file of one trial's export, by name.

    Raises:
        UsageError: the format cannot hold a file name, or two models have different files of one name.
    """
    check_names(result.with_files_of(trial))
    return EXPORTERS[format](result.with_files_of(trial), trial, models_dir)


def check_format(format: str) -> None:
    """Raises UsageError if the export format does not exist."""
    if format not in EXPORTERS:
        raise UsageError(f"{format!r} is no export format", remedy=f"choose one of {', '.join(EXPORTERS)}")


__all__ = [
    "COMPOSE_REPAIRS",
    "EXPORTERS",
    "MODELS_DIR",
    "Exporter",
    "check_format",
    "export_files",
    "export_trial",
    "pick_for_case_study",
    "quote",
    "render_env",
    "render_json",
    "unread_variables",
]
