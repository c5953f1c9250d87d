"""The front: its figure, its table, its commands, and what others would have chosen."""

from layertune.report.chart import figure
from layertune.report.columns import model_cells, model_headings
from layertune.report.commands import command_text
from layertune.report.front_figure import pictures
from layertune.report.html_table import table
from layertune.report.markup import Html, details, escape, join, paragraph, section
from layertune.report.numbers import NOT_RECORDED, count, number, pointer, size
from layertune.report.source import Source, chosen, measured, pick_names
from layertune.results.remarks import baseline_words, finals_words, gain_words, over_words
from layertune.results.result import BaselineInfo, Result

_CAPTION = (
    "Each point is a measured trial; its speeds are the medians that result.json has, alone, of the last rounds that "
    "measured it (bars: 95 % interval). Large points are the front, coloured by peak VRAM from 0 to the "
    "budget (orange); small ones are not on it; crosses exceed a limit; a diamond is around what a baseline chose. "
    "The dashed line is the budget without its margin. Point at a trial, or reach it with Tab, for its settings and "
    "commands."
)


def front_section(result: Result) -> Html:
    if not measured(result):
        return section("front", "Pareto front", paragraph("No trial was measured."))
    floors = " and ".join(["keeps the budget", *(f"reaches {floor}" for floor in result.floors)])
    shown = front_table(result) if result.pareto else paragraph(f"No measured trial {floors}.")
    return section(
        "front",
        "Pareto front",
        paragraph(finals_words(result, "(low–high)")),
        figure(_CAPTION, *pictures(result)),
        shown,
        _commands(result),
        _baselines(result),
    )


def front_table(result: Result) -> Html:
    headings = ["trial", "pick", *model_headings(result)]
    rows = [_row(result, source) for source in chosen(result, result.pareto)]
    return table("The trials on the front", [*headings, "peak VRAM"], rows)


def _row(result: Result, source: Source) -> list[Html]:
    cells = [source.number(), escape(", ".join(pick_names(result, source.trial.number)) or "–")]
    cells += model_cells(result, source)
    return [*cells, source.peak()]


def _commands(result: Result) -> Html:
    """Return the commands of every trial on the front: the picks' other formats have a section of their own."""
    parts = []
    for source in chosen(result, result.pareto):
        text = "\n".join(command_text(result, source.trial, name) for name in result.models)
        parts.append(Html(f"<h3>trial {source.trial.number}</h3><pre>{escape(text)}</pre>"))
    return details("Commands of every trial on the front", join(parts), "to-copy") if parts else Html("")


def _baselines(result: Result) -> Html:
    if not result.baselines:
        return paragraph("Baselines: not recorded.")
    headings = ["baseline", "rule", "layers", "planned", "measured as"]
    headings += [f"balanced pick, {name}" for name in result.models]
    rows = [_baseline_row(result, name, baseline) for name, baseline in result.baselines.items()]
    return table("Baselines: what others would have chosen, and how much faster the balanced pick is", headings, rows)


def _baseline_row(result: Result, name: str, baseline: BaselineInfo) -> list[Html]:
    at = pointer("baselines", name)
    layers = [
        Html(f"{escape(model)} {count(engine.n_gpu_layers, at + pointer('settings', model, 'n_gpu_layers'))}")
        for model, engine in (baseline.settings or {}).items()
    ]
    became = escape(baseline_words(result, baseline))
    if baseline.trial is not None:
        over = escape(over_words(result, baseline.trial))
        became = Html(f"trial {count(baseline.trial, at + '/trial')}{over}")
    return [
        escape(name),
        escape(baseline.note),
        join(layers, ", ") or escape("–"),
        _planned(baseline, at),
        became,
        *(_gain(baseline, model, at) for model in result.models),
    ]


def _planned(baseline: BaselineInfo, at: str) -> Html:
    if baseline.planned_bytes is not None:
        return size(baseline.planned_bytes, at + "/planned_bytes")
    return NOT_RECORDED if baseline.settings is not None else escape("–")


def _gain(baseline: BaselineInfo, model: str, at: str) -> Html:
    compared = baseline.balanced.get(model)
    if compared is None:
        return escape("–")
    words = gain_words(compared)
    return number(compared.ratio, words, at + pointer("balanced", model, "ratio")) if compared.clear else escape(words)
