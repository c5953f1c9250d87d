"""The `.env` file (`CHAT_MODEL`, `CHAT_N_GPU_LAYERS` and so on), for a shell and for docker compose.

Values with special characters are in single quotes, which both readers take literally:

- A POSIX shell reads up to the next quote (2.2.2).
- Compose reads up to the next quote without a backslash before it (compose-go, dotenv/parser.go, extractVarValue).

So file names with a quote or a backslash are refused. So are line breaks, and `${`, which docker-compose 1 replaces
between single quotes too. Model names are plain words, as `Result` checks.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from layertune.export.flags import Flag, server_flags
from layertune.export.header import comment
from layertune.export.paths import cannot_hold
from layertune.regular_files import CONFIG_BYTES, read_text
from layertune.results.result import Result, TrialInfo
from layertune.text import one_line

FILE_NAME = ".env"

_PLANNED = "# NOT MEASURED YET: planned memory, speeds expected from bandwidth"

_PLAIN = re.compile(r"[A-Za-z0-9._/+,-]+", re.ASCII)


def render_env(result: Result, trial: TrialInfo) -> str:
    """Return the `.env` file. Raises UsageError if a model's file name cannot be quoted safely."""
    lines = comment(result, trial)
    for name, model in result.models.items():
        lines += _of_model(name, model.file, server_flags(result, trial, name))
    return "\n".join(lines) + "\n"


def render_planned_env(origin: Iterable[str], models: Mapping[str, tuple[str, Sequence[Flag]]]) -> str:
    """Return the `.env` file of settings that were not measured. A comment marks it as such; see `is_planned`.

    Args:
        origin: further lines of the comment at its top.
        models: each model's file name and flags.

    Raises:
        UsageError: a model's file name cannot be quoted safely.
    """
    lines = [_PLANNED, *(f"# {one_line(line)}" for line in origin)]
    for name, (file, flags) in models.items():
        lines += _of_model(name, file, flags)
    return "\n".join(lines) + "\n"


def is_planned(path: Path) -> bool:
    """Return whether a file is a `.env` of settings that were not measured."""
    try:
        return read_text(path, CONFIG_BYTES).startswith(_PLANNED)
    except (OSError, UnicodeDecodeError):
        return False


def _of_model(name: str, file: str, flags: Iterable[Flag]) -> list[str]:
    return [
        "",
        f"{name.upper()}_MODEL={quote(file)}",
        *(f"{key}={quote(value)}" for key, value in _tuned(name, flags).items()),
    ]


def tuned(result: Result, trial: TrialInfo, name: str) -> dict[str, str]:
    """Return the variables of one model's settings, without its file."""
    return _tuned(name, server_flags(result, trial, name))


def _tuned(name: str, flags: Iterable[Flag]) -> dict[str, str]:
    return {f"{name.upper()}_{flag.key}": flag.value for flag in flags if flag.key is not None}


def quote(value: str) -> str:
    """Return a file name as a value of a `.env`, quoted if needed.

    Raises:
        UsageError: it cannot be quoted for both readers.
    """
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or "\\" in value or "${" in value or not value.isprintable():
        raise cannot_hold(value, "a .env file", "quotes, backslashes, `${` and control characters")
    return f"'{value}'"
