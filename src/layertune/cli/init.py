"""layertune init: a commented study config."""

from pathlib import Path

from layertune.cli.console import say
from layertune.config import find_hardware
from layertune.config.overrides import Overrides, model_options
from layertune.errors import UsageError
from layertune.regular_files import is_there
from layertune.study.first_config import PLACEHOLDERS, first_config
from layertune.study.outputs import write_output


def run(overrides: Overrides, hardware: str | None, output: Path) -> None:
    if is_there(output):
        raise UsageError(f"{output} is there already", remedy="choose another file with -o, or delete it")
    profile = None if hardware is None else find_hardware(hardware)
    models = model_options(overrides) or PLACEHOLDERS
    text = first_config(models, output, profile=profile, device=overrides.device, budget=overrides.budget)
    write_output(output, text, reads=[])
    for name, path in models.items():
        if not is_there(Path(path)):
            say(f"{name}: there is no {path} yet; change its path in {output}")
    say(f"wrote {output}; next: layertune search {output} --dry-run")
