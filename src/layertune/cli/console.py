"""The door to the terminal: all that layertune prints goes through this module, and nothing goes out raw.

Results go to standard output, progress and warnings to standard error. Each line is made printable first: names of
files and models, and what other programs said, cannot move the cursor, set the clipboard or look like a second line,
secrets are hidden, and what the output's encoding lacks is replaced. JSON and exported files have quoting of their own.
"""

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from layertune.cli.streams import open_closed_descriptors, protected_output, protected_progress
from layertune.errors import OutputError
from layertune.redaction import without_secrets
from layertune.tables import Table
from layertune.text import SUBSTITUTE_ERRORS, encodable, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

JSON_VERSION = 1  # of what --json prints; docs/json.md
# Wide enough for three models where the output is a file or a pipe, whose width is not known.
_FILE_WIDTH = 140


class LiveLine:
    """A progress bar below the printed lines; where the output is no terminal, only the lines."""

    def __init__(self, what: str, n_total: int, n_done: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = _console(sys.stderr)
        self._live = Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[stage]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._live.add_task(what, total=n_total, completed=n_done, left="", stage="")

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def update(self, n_done: int | None = None, **words: str) -> None:
        """Change `left` and `stage`, the words behind the bar, and how much is done."""
        for name, each in words.items():
            self._live.tasks[0].fields[name] = _plain(each, self._console.encoding)
        self._live.update(self._task, completed=n_done)

    def advance(self, n_done: int, n_total: int) -> None:
        """Show how much is done; where the output is no terminal, a line for each tenth."""
        self.update(n_done)
        if not self._console.is_terminal and n_done * 10 // n_total > (n_done - 1) * 10 // n_total:
            say(f"{self._live.tasks[0].description} {n_done} of {n_total}")

    def say(self, line: str) -> None:
        """Print a line above this one."""
        if self._console.is_terminal:
            self._console.print(_plain(line, self._console.encoding), soft_wrap=True)
        else:
            say(line)


def say(line: str) -> None:
    """Print a line on standard error: what is going on, what was written."""
    _write(sys.stderr, line)


def warn(words: str) -> None:
    """Print a warning on standard error."""
    say(f"warning: {words}")


def show(*lines: str, wrap: bool = True) -> None:
    """Print lines of a result on standard output, broken at words where they are wider than it is."""
    if not wrap:
        for line in lines:
            _write(sys.stdout, line)
        return
    console = _console(sys.stdout)
    for line in lines:
        console.print(_plain(line, console.encoding))


def show_heading(line: str) -> None:
    console = _console(sys.stdout)
    console.print(_plain(line, console.encoding), style="bold")


def show_table(table: Table) -> None:
    console = _console(sys.stdout)
    if table.title:
        console.print(_plain(table.title, console.encoding), style="italic")
    console.print(_rendered(table, console.encoding))


def show_tables(*tables: Table) -> None:
    """Print tables with an empty line between two."""
    for number, each in enumerate(tables):
        if number:
            show("")
        show_table(each)


def _rendered(table: Table, encoding: str) -> "RichTable":
    from rich.table import Table as RichTable
    from rich.text import Text

    def plain(text: str) -> Text:
        return Text(_plain(text, encoding))

    cut: Literal["ellipsis", "crop"] = "ellipsis" if _plain("…", encoding) == "…" else "crop"
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    for each in table.columns:
        shown.add_column(
            Text("\n").join(map(plain, each.heading)),
            justify="right" if each.right else "left",
            no_wrap=not each.wraps,
            overflow="fold" if each.wraps else cut,
        )
    for row in table.rows:
        shown.add_row(*map(plain, row))
    return shown


def as_json_text(document: dict[str, Any], indent: int | None = 1) -> str:
    """Return JSON with the version of its schema, in ASCII. It escapes all control characters but one."""
    versioned = {"schema_version": JSON_VERSION, **document}
    return json.dumps(versioned, indent=indent).replace("\x7f", r"\u007f") + "\n"


def show_json(document: dict[str, Any], indent: int | None = 1) -> None:
    """Print JSON with the version of its schema."""
    sys.stdout.write(as_json_text(document, indent))


def show_file(text: str) -> None:
    """Print a file's text: printable on a terminal, and elsewhere byte for byte as it would be written."""
    if sys.stdout.isatty() or not isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.write(encodable(printable(text), _encoding(sys.stdout)))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", SUBSTITUTE_ERRORS))
    sys.stdout.buffer.flush()


def finish_output() -> None:
    """Raises OutputError where what was printed cannot be written: a full disk may only show here."""
    sys.stdout.flush()


def show_width() -> int:
    """Return how many columns standard output has."""
    return _console(sys.stdout).width


def shows_on_terminal() -> bool:
    return _console(sys.stdout).is_terminal


def accept_any_text() -> None:
    """Have both streams replace what their encoding lacks, so that no output fails on it: also that of typer."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=SUBSTITUTE_ERRORS)


def take_over() -> None:
    """Have Python's warnings, the log lines of libraries and tracebacks go through this door too, and a failure to
    write end no command (`streams`)."""
    open_closed_descriptors()
    sys.stdout, sys.stderr = protected_output(sys.stdout), protected_progress(sys.stderr)
    accept_any_text()
    warnings.showwarning = _show_warning
    logging.setLogRecordFactory(_plain_record)
    sys.excepthook = _show_traceback
    threading.excepthook = lambda raised: _show_traceback(raised.exc_type, raised.exc_value, raised.exc_traceback)


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console


def _plain(line: str, encoding: str) -> str:
    return encodable(one_line(without_secrets(line)), encoding)


def _write(stream: TextIO, line: str) -> None:
    stream.write(_plain(line, _encoding(stream)) + "\n")


def _encoding(stream: TextIO) -> str:
    return stream.encoding or "utf-8"  # a StringIO has none


def _show_warning(message: Warning | str, category: type[Warning], *_where: object, **_more: object) -> None:
    warn(f"{category.__name__}: {message}")


def _plain_record(*values: Any, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord(*values, **more)
    record.msg, record.args = one_line(without_secrets(record.getMessage())), None
    return record


def _show_traceback(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
        say(line)


@contextmanager
def printing() -> Iterator[None]:
    """Print what a long command found. A failure to print is a warning: the exit status says what the command found."""
    try:
        yield
        finish_output()
    except OutputError as error:
        warn(error.what)
