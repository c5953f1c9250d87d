"""The command that serves one model of a trial."""

import shlex

from layertune.errors import UsageError
from layertune.export import MODELS_DIR
from layertune.export.llama_server import command
from layertune.results.result import Result, TrialInfo


def command_text(result: Result, trial: TrialInfo, model: str) -> str:
    """Return the command, or why there is none: some file names no command line can hold."""
    try:
        return shlex.join(command(result, trial, model, MODELS_DIR))
    except UsageError as error:
        return f"no command: {error}"
