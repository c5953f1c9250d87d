"""The `.env` of the worksheet: `CHAT_MODEL`, `CHAT_N_GPU_LAYERS` and so on, for a shell and for docker compose.

A value that could mean anything to either reader is in single quotes, which both take literally: POSIX shell (2.2.2)
up to the next quote, compose (compose-go, dotenv/parser.go, extractVarValue) up to the next one without a backslash
before it. A name with a quote or a backslash is therefore refused, and so is a line break: no file name can start a
second line or an expansion. Model names are plain words, which `Result` sees to.
"""

import re

from layertune.errors import UsageError
from layertune.export.provenance import provenance_lines
from layertune.results.result import Result, TrialInfo

_PLAIN = re.compile(r"[A-Za-z0-9._/+-]+", re.ASCII)
_KEYS = (
    ("N_GPU_LAYERS", "n_gpu_layers"),
    ("N_CTX", "n_ctx"),
    ("N_BATCH", "n_batch"),
    ("N_UBATCH", "n_ubatch"),
    ("THREADS", "n_threads"),
)


def render_env(result: Result, trial: TrialInfo) -> str:
    """Raises UsageError where a model's file name cannot be quoted safely."""
    lines = [f"# {line}" for line in provenance_lines(result, trial)]
    for name, model in result.models.items():
        prefix, engine = name.upper(), trial.settings[name]
        lines += ["", f"{prefix}_MODEL={quote(model.file)}"]
        lines += [f"{prefix}_{key}={getattr(engine, field)}" for key, field in _KEYS]
        if engine.n_cpu_moe:
            lines.append(f"{prefix}_N_CPU_MOE={engine.n_cpu_moe}")
    return "\n".join(lines) + "\n"


def quote(value: str) -> str:
    """Return a file name as it stands behind the `=`.

    Raises:
        UsageError: no quoting holds it for both readers.
    """
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or "\\" in value or not value.isprintable():
        raise UsageError(
            f"the file name {value!r} cannot stand in a .env file",
            remedy="rename the model file without quotes, backslashes and control characters",
        )
    return f"'{value}'"
