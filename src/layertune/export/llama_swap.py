"""The configuration of llama-swap: all models in one group that runs together, as measured.

llama-swap reads the file in steps (internal/config):

1. It replaces macros `${env.X}` in the raw text.
2. It parses the YAML and replaces macros `${X}` in the values.
3. In a command, it drops lines that begin with `#` and splits the rest as a shell does, without expansion.

So a `${` in a path is split by a pair of quotes, and line breaks are refused.
"""

import shlex
from dataclasses import replace

from layertune.export.flags import Flag, address_flags, server_flags
from layertune.export.header import comment
from layertune.export.paths import cannot_hold, model_path
from layertune.export.yaml_text import double_quoted, escaped
from layertune.results.result import Result, TrialInfo

FILE_NAME = "llama-swap.yaml"


def render_llama_swap(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Return the configuration. Raises UsageError if it cannot hold a model's file name."""
    names = ", ".join(double_quoted(name) for name in result.models)
    lines = [
        # Macros are replaced in comments too.
        *(line.replace("${", "$ {") for line in comment(result, trial)),
        "#",
        f"# llama-swap --config {FILE_NAME}",
        "healthCheckTimeout: 600",  # seconds; loading a large model takes long
        "models:",
        *(line for name in result.models for line in _model(result, trial, name, models_dir)),
        "groups:",
        "  together:",
        "    swap: false",
        # A model outside the group would take memory that the group needs.
        "    exclusive: true",
        f"    members: [{names}]",
        "hooks:",
        "  on_startup:",
        f"    preload: [{names}]",
    ]
    return {FILE_NAME: "\n".join(lines) + "\n"}


def _model(result: Result, trial: TrialInfo, name: str, models_dir: str) -> list[str]:
    path = model_path(result, name, models_dir)
    if "\n" in path:
        raise cannot_hold(path, "a llama-swap configuration", "line breaks")
    flags = [
        *address_flags(name, "127.0.0.1", "${PORT}"),
        Flag("model", shlex.quote(path).replace("${", "$''{")),
        *(replace(flag, value=shlex.quote(flag.value)) for flag in server_flags(result, trial, name)),
    ]
    # A line break in a double-quoted YAML string is read as a blank.
    words = [f"      {' '.join(map(escaped, flag.words))}" for flag in flags]
    return [f"  {double_quoted(name)}:", '    cmd: "llama-server', *words[:-1], f'{words[-1]}"']
