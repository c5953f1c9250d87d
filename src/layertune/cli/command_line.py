"""How the commands are run, and what typer would print itself: what is wrong with a command line."""

import sys
from collections.abc import Sequence
from errno import EMFILE, ENFILE
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from layertune.cli.console import accept_any_text, finish_output, say, take_over
from layertune.errors import LayertuneError, OutputError
from layertune.redaction import without_password, without_secrets


class CommandLine(TyperGroup):
    """The commands; what is wrong with their arguments is printed as any other error is."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        accept_any_text()
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            if not standalone_mode:
                raise
            _say_misuse(error, sys.argv[1:] if args is None else args)
            sys.exit(error.exit_code)
        if standalone_mode:
            sys.exit(status)
        return status


def run_commands(app: typer.Typer) -> None:
    """Run the command line; every error of layertune is one sentence and its exit status."""
    take_over()
    try:
        get_command(app)()
    except LayertuneError as error:
        say(f"layertune: {error}")
        _end(error.exit_status)
    except OSError as error:
        if error.errno not in (EMFILE, ENFILE):
            raise
        # Wherever it comes from: a module is imported with an open file, too.
        say("layertune: this system lets the process open no more files; raise its limit, like ulimit -n 1024")
        _end(LayertuneError.exit_status)
    except SystemExit as end:
        _end(end.code)


def _end(status: str | int | None) -> NoReturn:
    """Exit once standard output is written."""
    try:
        finish_output()
    except OutputError as error:
        say(f"layertune: {error}")
        status = status or error.exit_status
    sys.exit(status)


def _say_misuse(error: typer.TyperException, args: Sequence[str]) -> None:
    words = error.format_message()
    for each in args:
        if without_secrets(each) != each:
            words = words.replace(each, without_password(each))
    if not words:
        return  # no command was given, and its help has been printed
    context = getattr(error, "ctx", None)
    if context is not None:
        for line in context.get_usage().split("\n"):
            say(line)
        say(f"Try '{context.command_path} {context.help_option_names[0]}' for help.")
    say(f"layertune: {words}")
