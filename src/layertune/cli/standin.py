"""layertune standin"""

from pathlib import Path

from layertune.cli.console import say
from layertune.errors import UsageError
from layertune.models.known import find_known
from layertune.models.standin import plan_standin, plan_standin_like
from layertune.units import format_bytes


def run(name: str, output: Path, *, seed: int, overwrite: bool) -> None:
    template = Path(name)
    if output.exists() and template.exists() and output.samefile(template):
        raise UsageError(f"{output} is the template itself", remedy="choose another name with -o")
    planned = plan_standin_like(template) if template.is_file() else plan_standin(find_known(name))
    planned.write(output, seed=seed, overwrite=overwrite)
    say(f"{output}: {format_bytes(planned.file_bytes)}, random weights")
