"""layertune export"""

from pathlib import Path

import typer

from layertune.cli.files import write_text
from layertune.errors import UsageError
from layertune.export import EXPORTERS
from layertune.results.result import load_result


def run(study: Path, format: str, pick: str, output: Path | None) -> None:
    if format not in EXPORTERS:
        raise UsageError(f"{format!r} is no export format", remedy=f"choose one of {', '.join(EXPORTERS)}")
    result = load_result(study)
    text = EXPORTERS[format](result, result.picked(pick))
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        typer.echo(f"wrote {output}", err=True)
