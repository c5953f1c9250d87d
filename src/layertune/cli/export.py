"""layertune export"""

from pathlib import Path

from layertune.cli.console import say, show_file, warn
from layertune.errors import UsageError
from layertune.export import (
    COMPOSE_REPAIRS,
    MODELS_DIR,
    check_format,
    export_files,
    pick_for_case_study,
    unread_variables,
)
from layertune.results.result import Result, TrialInfo, read_result
from layertune.study.other_files import other_files
from layertune.study.outputs import write_files


def run(
    study: Path, format: str | None, pick: str, *, compat: str | None, models_dir: str | None, output: Path | None
) -> None:
    format = "env" if format is None else format
    check_format(format)
    if compat not in (None, "worksheet"):
        raise UsageError(f"nothing is known of {compat!r}", remedy="leave --compat out, or choose worksheet")
    if compat is not None and format != "env":
        raise UsageError(f"--compat {compat} is about a .env file", remedy="use it with --format env")
    if models_dir == "":
        raise UsageError("--models-dir is empty", remedy="give the folder of the model files, or leave it out")
    result = read_result(study)
    for sentence in other_files(study if study.is_dir() else study.parent, result):
        warn(sentence)
    trial = None if compat is None else pick_for_case_study(result, pick)
    pick = pick if trial is None else str(trial.number)
    files = export_files(result, format, pick, MODELS_DIR if models_dir is None else models_dir)
    if output is not None:
        for path in write_files(output, files, reads=[study]):
            say(f"wrote {path}")
    else:
        show_file(_as_one(files))
    if trial is not None:
        _warn(result, trial)


def _as_one(files: dict[str, str]) -> str:
    """Return one text; several files each under its name, as head(1) prints them."""
    if len(files) == 1:
        return "".join(files.values())
    return "\n".join(f"==> {name} <==\n{text}" for name, text in files.items())


def _warn(result: Result, trial: TrialInfo) -> None:
    for sentence in unread_variables(result, trial):
        warn(sentence)
    for line in COMPOSE_REPAIRS:
        say(line)
