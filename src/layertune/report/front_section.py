"""The front: its charts, its table, its commands, and the baselines."""

from layertune.report.chart import figure
from layertune.report.front_figure import pictures
from layertune.report.markup import (
    NOT_RECORDED,
    Html,
    count,
    details,
    escape,
    join,
    number,
    paragraph,
    pointer,
    section,
    size,
    table,
)
from layertune.report.source import Source, chosen, measured, model_cells, model_headings, pick_names
from layertune.report.trial_text import command_text
from layertune.results.remarks import baseline_words, finals_words, gain_words, over_words
from layertune.results.result import BaselineInfo, Result

_CAPTION = (
    "Each point is a measured trial. Its speeds are medians, alone, of the last rounds that measured it (bars: 95 % "
    "interval). Large points are the front, coloured by peak VRAM from 0 to the budget (orange). Small points are "
    "other trials, crosses exceed a limit, and a diamond marks a baseline. The dashed line is the budget without its "
    "margin. Point at a trial, or move to it with Tab, to see its settings and commands."
)


def front_section(result: Result) -> Html:
    if not measured(result):
        return section("front", "Pareto front", paragraph("No trial was measured."))
    needed = " and ".join(["keeps the budget", *(f"reaches {floor}" for floor in result.floors)])
    shown = front_table(result) if result.pareto else paragraph(f"No measured trial {needed}.")
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
    """Return the commands of every trial on the front. The exports section has other formats for the picks."""
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
    return table("Baselines: what simple rules would choose, and how much faster the balanced pick is", headings, rows)


def _baseline_row(result: Result, name: str, baseline: BaselineInfo) -> list[Html]:
    at = pointer("baselines", name)
    layers = [
        Html(f"{escape(model)} {count(engine.n_gpu_layers, at + pointer('settings', model, 'n_gpu_layers'))}")
        for model, engine in (baseline.settings or {}).items()
    ]
    outcome = escape(baseline_words(result, baseline))
    if baseline.trial is not None:
        over = escape(over_words(result, baseline.trial))
        outcome = Html(f"trial {count(baseline.trial, at + '/trial')}{over}")
    return [
        escape(name),
        escape(baseline.note),
        join(layers, ", ") or escape("–"),
        _planned(baseline, at),
        outcome,
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
