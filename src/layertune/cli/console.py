"""Where tables and warnings are printed."""

import typer
from rich.console import Console

# Wide enough for three models where the output is a file or a pipe, whose width nobody knows.
_FILE_WIDTH = 140


def open_console() -> Console:
    """Return standard output, for tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)


def warn(words: str) -> None:
    """Print a warning on standard error."""
    typer.echo(f"warning: {words}", err=True)
