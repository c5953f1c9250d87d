"""What one step of each setting gives and costs: the table of `layertune export --explain`, for every pick."""

from collections.abc import Mapping
from itertools import groupby

from layertune.explain import Explanation, Line, explain
from layertune.explain.words import memory_source, no_step_words, speed_source, title
from layertune.memory import EngineMemory
from layertune.report.html_table import table
from layertune.report.markup import Html, details, escape, join, paragraph, section
from layertune.report.memory_section import distinct_picks
from layertune.report.numbers import count, number, pointer
from layertune.report.source import Source, speed_unit
from layertune.results.result import Result
from layertune.units import format_bytes

_NOTE = (
    "Speed is the change of the model's tokens/s alone, with the 95 % interval of the difference. Measured: against a "
    "trial that differs in this setting alone. Modelled: by the search's model of speed, fitted to this study; left "
    "out where no two trials tell the setting apart. Bytes are the change of the model's buffers: measured, or by plan."
)


def steps_section(result: Result, memory: Mapping[str, EngineMemory]) -> Html:
    """`memory` plans, by model, what the result has no plan of."""
    picked = distinct_picks(result)
    name = "What each setting gives and costs"
    if not picked:
        return section("steps", name, paragraph("There is no pick to explain."))
    first, *others = (
        (f"{names} (trial {source.trial.number})", _tables(result, source, memory)) for names, source in picked
    )
    shown = [Html(f"<h3>{escape(first[0])}</h3>{first[1]}"), *(details(heading, told) for heading, told in others)]
    return section("steps", name, *shown, paragraph(_NOTE, "note"))


def _tables(result: Result, source: Source, memory: Mapping[str, EngineMemory]) -> Html:
    explanation = explain(result, source.trial, memory)
    headings = [
        "step",
        f"change of {speed_unit(result)} alone",
        "low",
        "high",
        "share",
        "speed is",
        "device",
        "host",
        "bytes are",
    ]
    tables = [
        table(title(gives, on_device=explanation.on_device), headings, [_row(source, line) for line in lines])
        for gives, lines in groupby(explanation.lines, key=lambda line: line.gives)
    ]
    return join([*tables, _no_steps(explanation)])


def _row(source: Source, line: Line) -> list[Html]:
    none = escape("–")
    speed, memory = line.speed, line.memory
    change, low, high, share = none, none, none, none
    if speed is not None:
        change, share = _rate(speed.tokens_per_s), number(speed.share, f"{speed.share:+.1%}")
        low, high = (none if end is None else _rate(end) for end in (speed.low, speed.high))
    sizes = [none, none] if memory is None else [_size(memory.device_bytes), _size(memory.host_bytes)]
    told = escape(speed_source(line)), escape(memory_source(line))
    return [_step(source, line), change, low, high, share, told[0], *sizes, told[1]]


def _step(source: Source, line: Line) -> Html:
    """Return what changes, its present value with its place in result.json, where llama.cpp runs it as it stands."""
    written = getattr(source.trial.settings[line.model], line.knob)
    at = source.at + pointer("settings", line.model, line.knob) if written == line.before else ""
    along = f", {' and '.join(line.along)} along" if line.along else ""
    return Html(f"{escape(f'{line.model} {line.knob} ')}{count(line.before, at)} → {count(line.to)}{escape(along)}")


def _rate(change: float) -> Html:
    return number(change, f"{change:+.2f}")


def _size(n_bytes: int) -> Html:
    return number(n_bytes, ("+" if n_bytes > 0 else "") + format_bytes(n_bytes))


def _no_steps(explanation: Explanation) -> Html:
    items = join(Html(f"<li>{escape(no_step_words(step))}</li>") for step in explanation.no_steps)
    return details("Where a setting goes no further", Html(f"<ul>{items}</ul>")) if items else Html("")
