"""The `.env` of the worksheet: `CHAT_MODEL`, `CHAT_N_GPU_LAYERS` and so on, for a shell and for docker compose.

A value that could mean anything to either reader is in single quotes, which both take literally: POSIX shell (2.2.2)
up to the next quote, compose (compose-go, dotenv/parser.go, extractVarValue) up to the next one without a backslash
before it. A name with a quote or a backslash is therefore refused, and so are a line break and `${`, which
docker-compose 1 replaces between single quotes too: no file name can start a second line or an expansion. Model names
are plain words, which `Result` sees to.
"""

import re

from layertune.export.flags import server_flags
from layertune.export.header import comment
from layertune.export.paths import cannot_hold
from layertune.results.result import Result, TrialInfo

FILE_NAME = ".env"

_PLAIN = re.compile(r"[A-Za-z0-9._/+-]+", re.ASCII)


def render_env(result: Result, trial: TrialInfo) -> str:
    """Raises UsageError where a model's file name cannot be quoted safely."""
    lines = comment(result, trial)
    for name, model in result.models.items():
        lines += ["", f"{name.upper()}_MODEL={quote(model.file)}"]
        lines += [f"{key}={value}" for key, value in tuned(result, trial, name).items()]
    return "\n".join(lines) + "\n"


def tuned(result: Result, trial: TrialInfo, name: str) -> dict[str, str]:
    """Return the variables of one model, without its file."""
    flags = server_flags(result, trial, name)
    return {f"{name.upper()}_{flag.key}": flag.value for flag in flags if flag.key is not None}


def quote(value: str) -> str:
    """Return a file name as it stands behind the `=`.

    Raises:
        UsageError: no quoting holds it for both readers.
    """
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or "\\" in value or "${" in value or not value.isprintable():
        raise cannot_hold(value, "a .env file", "quotes, backslashes, `${` and control characters")
    return f"'{value}'"
