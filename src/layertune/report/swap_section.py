"""Whether the models of the balanced pick should share the device, or take turns on it."""

from layertune.explain import Alone, Case, Swap, coexist_or_swap
from layertune.explain.coexist import Seconds
from layertune.explain.words import case_words, in_a_row_words, missing_words
from layertune.report.html_table import table
from layertune.report.markup import Html, escape, join, paragraph, section
from layertune.report.numbers import count, number, pointer
from layertune.report.source import Source, chosen
from layertune.results.result import Result

_NOTE = (
    "A swap frees one model and loads the next, with all its layers that fit alone; a round is one request of the "
    "workload to each model. With every model loaded once a minute, the break-even is the seconds of all loads over "
    "the seconds that a round takes longer where the models share the device. All figures are measured, loads with the "
    "files in the page cache and without a server's own start, so a real swap takes longer. docs/report.md has the "
    "derivation."
)


def swap_section(result: Result) -> Html:
    name = "Coexist or swap"
    if "balanced" not in result.picks:
        return section("swap", name, paragraph("There is no pick to judge."))
    swap = coexist_or_swap(result, result.picked("balanced"))
    if swap.missing:
        return section("swap", name, paragraph(missing_words(swap)))
    words = [*map(case_words, swap.cases), *map(in_a_row_words, swap.models)]
    verdict = Html(f"<ul>{join(Html(f'<li>{escape(each)}</li>') for each in words)}</ul>")
    return section("swap", name, verdict, _rounds(swap), _models(result, swap), paragraph(_NOTE, "note"))


def _rounds(swap: Swap) -> Html:
    headings = [
        "asked",
        "a round where they share, s",
        "a round of a swap without loads, s",
        "longer by, s",
        "break-even, requests a minute to each",
        "most a swap can serve",
    ]
    return table("A round of requests, one to each model", headings, [_round(each) for each in swap.cases])


def _round(case: Case) -> list[Html]:
    none = escape("none")
    even = none if case.per_minute is None else _figure(case.per_minute)
    times = [_seconds(each) for each in (case.shared, case.alone, case.slower)]
    return [escape(case.name), *times, even, _figure(case.most_per_minute)]


def _models(result: Result, swap: Swap) -> Html:
    headings = ["model", "layers alone", "measured as trial", "load, s", "request where they share, s", "alone, s"]
    trials = chosen(result, [each.trial for each in swap.models])
    rows = [_model(each, source) for each, source in zip(swap.models, trials, strict=True)]
    return table("Each model with the device to itself", headings, rows)


def _model(alone: Alone, source: Source) -> list[Html]:
    layers = count(alone.n_gpu_layers, source.at + pointer("settings", alone.model, "n_gpu_layers"))
    load = number(alone.load_s, f"{alone.load_s:.2f}", source.at + pointer("load_s", alone.model, "median"))
    return [
        escape(alone.model), layers, source.number(), load, _seconds(alone.shared), _seconds(alone.alone)
    ]  # fmt: skip


def _seconds(time: Seconds) -> Html:
    if time.low_s is None or time.high_s is None:
        return _figure(time.time_s)
    return Html(f"{_figure(time.time_s)} <small>({_figure(time.low_s)}–{_figure(time.high_s)})</small>")


def _figure(value: float) -> Html:
    return number(value, f"{value:.2f}")
