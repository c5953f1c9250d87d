"""layertune recommend: the best setting by memory plan and bandwidth."""

from pathlib import Path

from layertune.cli.console import say, show, show_json
from layertune.config import StudyConfig
from layertune.study.outputs import write_output
from layertune.study.recommended_env import as_json, planned_env, text
from layertune.study.study import open_study


def run(config: StudyConfig, output: Path | None, reads: list[Path], *, json: bool) -> None:
    study = open_study(config, say)
    found = study.recommend()
    show_json(as_json(study, found)) if json else show(*text(study, found))
    if output is not None:
        write_output(output, planned_env(study, found), reads=reads)
        say(f"wrote {output}, not measured yet")
