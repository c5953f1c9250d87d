"""layertune standin"""

from pathlib import Path

from layertune.cli.console import say
from layertune.models.quantization import find_type
from layertune.models.shape import part_files
from layertune.regular_files import is_file
from layertune.study.outputs import check_output
from layertune.study.quantized import standin_of
from layertune.units import format_bytes


def run(name: str, output: Path, type: str | None, *, with_imatrix: bool, seed: int, overwrite: bool) -> None:
    check_output(output, reads=part_files(Path(name)) if is_file(Path(name)) else [])
    file_type = None if type is None else find_type(type)
    planned = standin_of(name, file_type, with_imatrix=with_imatrix)
    planned.write(output, seed=seed, overwrite=overwrite)
    say(f"{output}: {format_bytes(planned.file_bytes)}, random weights")
