"""layertune estimate: the planned memory of a setting, by model and device. Nothing is loaded."""

from contextlib import suppress
from pathlib import Path

from layertune.cli.console import say, show, show_json, show_table, warn
from layertune.config import CONFIG_NAME
from layertune.config.overrides import Overrides, study_config
from layertune.errors import ResultFileError
from layertune.models.companions import companion_notes
from layertune.study.estimate_table import estimate_json, estimate_lines, estimate_table
from layertune.study.study import open_study


def run(config_path: Path | None, overrides: Overrides, *, as_json: bool) -> None:
    study = open_study(study_config(config_path, overrides), say)
    for note in companion_notes(study.shapes):
        say(note)
    found = study.estimate()
    if config_path is not None and config_path.name == CONFIG_NAME:
        _warn_of_other_files(config_path.parent)
    if as_json:
        show_json(estimate_json(found))
    else:
        show_table(estimate_table(study.models, found))
        show(*estimate_lines(study.models, found))


def _warn_of_other_files(folder: Path) -> None:
    """Warn if this is a finished study's config and its model files were replaced since."""
    from layertune.results.result import read_result  # slower to import than an estimate takes
    from layertune.study.other_files import other_files

    with suppress(ResultFileError):
        for sentence in other_files(folder, read_result(folder)):
            warn(sentence)
