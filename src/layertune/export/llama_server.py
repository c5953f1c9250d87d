"""Commands that start one llama-server per model: a shell script, and a file of llama-server's variables.

Both are for a POSIX shell, whose single quotes hold every character except a quote (2.2.2).
"""

import shlex

from layertune.export.flags import Flag, address_flags, ports, server_flags
from layertune.export.header import comment
from layertune.export.paths import model_path
from layertune.results.result import Result, TrialInfo

_HOST = "127.0.0.1"


def render_llama_server(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Return both files of each model. Raises UsageError if no text file can hold a model's file name."""
    files: dict[str, str] = {}
    for name in result.models:
        flags = all_flags(result, trial, name, models_dir)
        files[f"{name}.sh"] = _script(
            flags, [*comment(result, trial), "#", "# Arguments after `sh FILE` go to llama-server."]
        )
        files[f"{name}.server.env"] = _environment(flags, comment(result, trial))
    return files


def command(result: Result, trial: TrialInfo, name: str, models_dir: str) -> list[str]:
    """Return the command of one model as a list of arguments."""
    flags = all_flags(result, trial, name, models_dir)
    return ["llama-server", *(word for flag in flags for word in flag.words)]


def all_flags(result: Result, trial: TrialInfo, name: str, models_dir: str) -> list[Flag]:
    """Return all flags of one model, with those of its address and its file."""
    return [
        *address_flags(name, _HOST, str(ports(result)[name])),
        Flag("model", model_path(result, name, models_dir), "LLAMA_ARG_MODEL"),
        *server_flags(result, trial, name),
    ]


def _script(flags: list[Flag], head: list[str]) -> str:
    words = [f"  {shlex.join(flag.words)} \\" for flag in flags]
    return "\n".join(["#!/bin/sh", *head, "exec llama-server \\", *words, '  "$@"']) + "\n"


def _environment(flags: list[Flag], head: list[str]) -> str:
    # Left out, --threads-batch is --threads.
    without = [flag for flag in flags if flag.variable is None and flag.key != "THREADS"]
    words = "".join(f" {shlex.join(flag.words)}" for flag in without)
    why = "these arguments" if without else "--threads-batch; its default is --threads"
    return (
        "\n".join(
            [
                *head,
                "#",
                f"# Read it with: set -a; . ./FILE; llama-server{words}",
                f"# llama-server has no variable for {why}.",
                *(f"{flag.variable}={shlex.quote(flag.value)}" for flag in flags if flag.variable is not None),
            ]
        )
        + "\n"
    )
