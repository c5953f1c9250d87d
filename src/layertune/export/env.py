"""The `.env` file (`CHAT_MODEL`, `CHAT_N_GPU_LAYERS` and so on), for a shell and for docker compose.

Values with special characters are in single quotes, which both readers take literally. A POSIX shell reads up to the
next quote (2.2.2); compose up to the next quote without a backslash before it (compose-go, dotenv/parser.go,
extractVarValue). File names with a quote or a backslash are therefore refused. So are line breaks and `${`, which
docker-compose 1 replaces between single quotes too. Model names are plain words, as `Result` checks.
"""

import re

from layertune.export.flags import server_flags
from layertune.export.header import comment
from layertune.export.paths import cannot_hold
from layertune.results.result import Result, TrialInfo

FILE_NAME = ".env"

_PLAIN = re.compile(r"[A-Za-z0-9._/+-]+", re.ASCII)


def render_env(result: Result, trial: TrialInfo) -> str:
    """Return the `.env` file. Raises UsageError if a model's file name cannot be quoted safely."""
    lines = comment(result, trial)
    for name, model in result.models.items():
        lines += ["", f"{name.upper()}_MODEL={quote(model.file)}"]
        lines += [f"{key}={value}" for key, value in tuned(result, trial, name).items()]
    return "\n".join(lines) + "\n"


def tuned(result: Result, trial: TrialInfo, name: str) -> dict[str, str]:
    """Return the variables of one model's settings, without its file."""
    flags = server_flags(result, trial, name)
    return {f"{name.upper()}_{flag.key}": flag.value for flag in flags if flag.key is not None}


def quote(value: str) -> str:
    """Return a file name as a value of a `.env`, quoted if needed.

    Raises:
        UsageError: no quoting works for both readers.
    """
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or "\\" in value or "${" in value or not value.isprintable():
        raise cannot_hold(value, "a .env file", "quotes, backslashes, `${` and control characters")
    return f"'{value}'"
