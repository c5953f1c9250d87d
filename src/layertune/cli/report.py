"""layertune report"""

from pathlib import Path

from layertune.cli.console import say
from layertune.regular_files import is_folder
from layertune.report import FILE_NAME, render_report
from layertune.results.result import read_result
from layertune.study.outputs import check_output, write_output
from layertune.study.replanned import picked_trials, plan_again


def run(study: Path, output: Path | None) -> None:
    """Without `output`, the page goes into the study's folder, or next to its result.json."""
    result = read_result(study)
    folder = study if is_folder(study) else study.parent
    path = folder / FILE_NAME if output is None else output
    check_output(path, reads=[study])
    page = render_report(result, plan_again(study, result, picked_trials(result), say))
    write_output(path, page, reads=[study])
    say(f"wrote {path}")
