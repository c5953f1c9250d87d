"""An explanation as tables: what each step gives and costs."""

from itertools import groupby

from layertune.explain.explanation import Explanation
from layertune.explain.line import Line
from layertune.explain.words import memory_source, speed_source, step_words, title
from layertune.tables import Table
from layertune.units import format_bytes

_HEADINGS = ("model", "step", "tokens/s alone", "95 % interval", "share", "speed is", "device", "host", "bytes are")


def explanation_tables(explanation: Explanation) -> list[Table]:
    """Return a table of the steps that free memory, one of those that gain speed, and one of the others."""
    return [
        _table(title(gives, on_device=explanation.on_device), list(lines))
        for gives, lines in groupby(explanation.lines, key=lambda line: line.gives)
    ]


def _table(heading: str, lines: list[Line]) -> Table:
    table = Table(heading)
    for column in _HEADINGS:
        table.column(column, wraps=True)
    for line in lines:
        table.row(*_cells(line))
    return table


def _cells(line: Line) -> list[str]:
    speed, memory = line.speed, line.memory
    change = interval = share = on_device = on_host = "–"
    if speed is not None:
        change, share = f"{speed.tokens_per_s:+.2f}", f"{speed.share:+.1%}"
        if speed.low is not None and speed.high is not None:
            interval = f"{speed.low:+.2f} to {speed.high:+.2f}"
    if memory is not None:
        on_device, on_host = _signed(memory.device_bytes), _signed(memory.host_bytes)
    sources = (speed_source(line), memory_source(line))
    return [line.model, step_words(line), change, interval, share, sources[0], on_device, on_host, sources[1]]


def _signed(n_bytes: int) -> str:
    return ("+" if n_bytes > 0 else "") + format_bytes(n_bytes)
