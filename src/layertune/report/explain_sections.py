"""What `layertune export --explain` shows: one step of each setting, and whether the models should share the device."""

from collections.abc import Mapping
from itertools import groupby

from layertune.explain import Alone, Case, Explanation, Line, Swap, coexist_or_swap, explain
from layertune.explain.coexist import Seconds
from layertune.explain.steps import written
from layertune.explain.words import (
    case_words,
    file_words,
    in_a_row_words,
    memory_source,
    missing_words,
    no_step_words,
    speed_source,
    title,
)
from layertune.memory import EngineMemory
from layertune.report.markup import Html, count, details, escape, join, number, paragraph, pointer, section, table
from layertune.report.source import Source, chosen, distinct_picks, setting_value, speed_unit
from layertune.results.result import Result
from layertune.units import format_bytes

_STEPS_NOTE = (
    "Speed is the change of the model's tokens/s alone, with the 95 % interval of the difference. Measured: compared "
    "with a trial that differs only in this setting. Modelled: from the search's model of speed, fitted to this study. "
    "It is left out if no two trials differ only in this setting. Bytes are the change of the model's buffers, "
    "measured or planned."
)
_SWAP_NOTE = (
    "A swap frees one model and loads the next, with as many layers as fit alone. A round is one request of the "
    "workload to each model. With every model loaded once a minute, the break-even is the time of all loads divided by "
    "the time that sharing adds to a round. All values are measured. Loads are timed with the files in the page cache "
    "and without a server's start, so a real swap takes longer. docs/report.md has the derivation."
)


def steps_section(result: Result, memory: Mapping[str, EngineMemory]) -> Html:
    """`memory` plans, by model, the steps that have no plan in the result."""
    picked = distinct_picks(result)
    name = "What each setting gives and costs"
    if not picked:
        return section("steps", name, paragraph("There is no pick to explain."))
    first, *others = (
        (f"{names} (trial {source.trial.number})", _steps(result, source, memory)) for names, source in picked
    )
    shown = [Html(f"<h3>{escape(first[0])}</h3>{first[1]}"), *(details(*each) for each in others)]
    return section("steps", name, *shown, paragraph(_STEPS_NOTE, "note"))


def swap_section(result: Result) -> Html:
    name = "Coexist or swap"
    if "balanced" not in result.picks:
        return section("swap", name, paragraph("There is no balanced pick, so nothing to compare."))
    swap = coexist_or_swap(result, result.picked("balanced"))
    if swap.missing:
        return section("swap", name, paragraph(missing_words(swap)))
    words = [*map(case_words, swap.cases), *map(in_a_row_words, swap.models)]
    answer = Html(f"<ul>{join(Html(f'<li>{escape(each)}</li>') for each in words)}</ul>")
    return section("swap", name, answer, _rounds(swap), _models(result, swap), paragraph(_SWAP_NOTE, "note"))


def _steps(result: Result, source: Source, memory: Mapping[str, EngineMemory]) -> Html:
    explanation = explain(result, source.trial, memory)
    headings = ["step", f"change of {speed_unit(result)} alone", "low", "high", "share", "speed is"]
    headings += ["device", "host", "bytes are"]
    tables = [
        table(title(gives, on_device=explanation.on_device), headings, [_step_row(source, line) for line in lines])
        for gives, lines in groupby(explanation.lines, key=lambda line: line.gives)
    ]
    return join([*tables, *(paragraph(file_words(step)) for step in explanation.files), _no_steps(explanation)])


def _step_row(source: Source, line: Line) -> list[Html]:
    none = escape("–")
    speed, memory = line.speed, line.memory
    change, low, high, share = none, none, none, none
    if speed is not None:
        change, share = _rate_change(speed.tokens_per_s), number(speed.share, f"{speed.share:+.1%}")
        low, high = (none if end is None else _rate_change(end) for end in (speed.low, speed.high))
    sizes = [none, none] if memory is None else [_size_change(memory.device_bytes), _size_change(memory.host_bytes)]
    cells = [_step(source, line), change, low, high, share, escape(speed_source(line))]
    return [*cells, *sizes, escape(memory_source(line))]


def _step(source: Source, line: Line) -> Html:
    """Return the change; the present value has a place in result.json if llama.cpp uses it unchanged."""
    before, to = written(line.knob, line.before), written(line.knob, line.to)
    is_same = getattr(source.trial.settings[line.model], line.knob) == before
    at = source.at + pointer("settings", line.model, line.knob) if is_same else ""
    along = f", with {' and '.join(line.along)}" if line.along else ""
    return Html(
        f"{escape(f'{line.model} {line.knob} ')}{setting_value(before, at)} → {setting_value(to, '')}{escape(along)}"
    )


def _rate_change(change: float) -> Html:
    return number(change, f"{change:+.2f}")


def _size_change(n_bytes: int) -> Html:
    return number(n_bytes, ("+" if n_bytes > 0 else "") + format_bytes(n_bytes))


def _no_steps(explanation: Explanation) -> Html:
    items = join(Html(f"<li>{escape(no_step_words(step))}</li>") for step in explanation.no_steps)
    return details("Settings that have no further step", Html(f"<ul>{items}</ul>")) if items else Html("")


def _rounds(swap: Swap) -> Html:
    headings = [
        "asked",
        "a round when sharing, s",
        "a round of a swap without loads, s",
        "longer by, s",
        "break-even, requests a minute to each",
        "most a swap can serve",
    ]
    return table("A round of requests, one to each model", headings, [_round(each) for each in swap.cases])


def _round(case: Case) -> list[Html]:
    even = escape("none") if case.per_minute is None else _decimal(case.per_minute)
    times = [_seconds(each) for each in (case.shared, case.alone, case.slower)]
    return [escape(case.name), *times, even, _decimal(case.most_per_minute)]


def _models(result: Result, swap: Swap) -> Html:
    headings = ["model", "layers alone", "measured as trial", "load, s", "request when sharing, s", "alone, s"]
    trials = chosen(result, [each.trial for each in swap.models])
    rows = [_model(each, source) for each, source in zip(swap.models, trials, strict=True)]
    return table("Each model with the device to itself", headings, rows)


def _model(alone: Alone, source: Source) -> list[Html]:
    layers = count(alone.n_gpu_layers, source.at + pointer("settings", alone.model, "n_gpu_layers"))
    load = number(alone.load_s, f"{alone.load_s:.2f}", source.at + pointer("load_s", alone.model, "median"))
    return [escape(alone.model), layers, source.number(), load, _seconds(alone.shared), _seconds(alone.alone)]


def _seconds(time: Seconds) -> Html:
    if time.low_s is None or time.high_s is None:
        return _decimal(time.time_s)
    return Html(f"{_decimal(time.time_s)} <small>({_decimal(time.low_s)}–{_decimal(time.high_s)})</small>")


def _decimal(value: float) -> Html:
    return number(value, f"{value:.2f}")
