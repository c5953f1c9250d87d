"""layertune standin"""

from pathlib import Path

from layertune.cli.console import say
from layertune.models.known_models import find_known
from layertune.models.shape import part_files
from layertune.models.standin import known_standin, standin_like
from layertune.regular_files import is_file
from layertune.study.outputs import check_output
from layertune.units import format_bytes


def run(name: str, output: Path, *, seed: int, overwrite: bool) -> None:
    template = Path(name)
    check_output(output, reads=part_files(template) if is_file(template) else [])
    planned = standin_like(template) if is_file(template) else known_standin(find_known(name))
    planned.write(output, seed=seed, overwrite=overwrite)
    say(f"{output}: {format_bytes(planned.file_bytes)}, random weights")
