"""One llama-server for each model: as a shell script, and as llama-server's own environment variables.

Both are for a POSIX shell, whose single quotes hold every character but a quote (2.2.2).
"""

import shlex

from layertune.export.flags import Flag, address_flags, ports, server_flags
from layertune.export.header import comment
from layertune.export.paths import model_path
from layertune.results.result import Result, TrialInfo

_HOST = "127.0.0.1"


def render_llama_server(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Raises UsageError where a model's file name cannot be held."""
    files: dict[str, str] = {}
    for name in result.models:
        flags = _all_flags(result, trial, name, models_dir)
        files[f"{name}.sh"] = _script(flags, [*comment(result, trial), "#", "# What follows `sh FILE` is handed on."])
        files[f"{name}.server.env"] = _environment(flags, comment(result, trial))
    return files


def command(result: Result, trial: TrialInfo, name: str, models_dir: str) -> list[str]:
    """Return the words of one model's command."""
    flags = _all_flags(result, trial, name, models_dir)
    return ["llama-server", *(word for flag in flags for word in (f"--{flag.option}", flag.value))]


def _all_flags(result: Result, trial: TrialInfo, name: str, models_dir: str) -> list[Flag]:
    return [
        *address_flags(name, _HOST, str(ports(result)[name])),
        Flag("model", model_path(result, name, models_dir), "LLAMA_ARG_MODEL"),
        *server_flags(result, trial, name),
    ]


def _script(flags: list[Flag], head: list[str]) -> str:
    words = [f"  --{flag.option} {shlex.quote(flag.value)} \\" for flag in flags]
    return "\n".join(["#!/bin/sh", *head, "exec llama-server \\", *words, '  "$@"']) + "\n"


def _environment(flags: list[Flag], head: list[str]) -> str:
    without = [f"--{flag.option}" for flag in flags if flag.variable is None]
    return (
        "\n".join(
            [
                *head,
                "#",
                "# Read it with: set -a; . ./FILE; llama-server",
                f"# llama-server has no variable for {', '.join(without)}; its default is --threads.",
                *(f"{flag.variable}={shlex.quote(flag.value)}" for flag in flags if flag.variable is not None),
            ]
        )
        + "\n"
    )
