"""The picks, first on the page, and their exports."""

from layertune.errors import UsageError
from layertune.export import EXPORTERS, MODELS_DIR, export_trial
from layertune.report.markup import Html, details, escape, join, paragraph, section, table
from layertune.report.memory_section import headroom_cell
from layertune.report.source import Source, distinct_picks, model_cells, model_headings
from layertune.results.price import pick_price_words
from layertune.results.result import Result

_MEANINGS = (
    "balanced: the best weighted geometric mean of the models' speeds, each relative to its best on the front. A "
    "model's name: the fastest for that model. lean: the least VRAM that keeps nine tenths of the balanced score."
)


def picks_section(result: Result) -> Html:
    picked = distinct_picks(result)
    if not picked:
        floors = "".join(f" and reaches {floor}" for floor in result.floors)
        return section(
            "picks", "Picks", paragraph(f"No measured trial keeps the budget{floors}, so there is nothing to pick.")
        )
    headings = ["pick", "trial", *model_headings(result), "peak VRAM", "headroom"]
    rows = [
        [escape(names), source.number(), *model_cells(result, source), source.peak(), headroom_cell(result, source)]
        for names, source in picked
    ]
    prices = map(paragraph, pick_price_words(result))
    return section("picks", "Picks", table("The picks", headings, rows), *prices, paragraph(_MEANINGS, "note"))


def exports_section(result: Result) -> Html:
    picked = distinct_picks(result)
    if not picked:
        return section("exports", "Exports", paragraph("There is no pick to export."))
    folder = f"Model files are expected in {MODELS_DIR}; layertune export --models-dir DIR writes another folder."
    parts = [
        Html(f"<h3>{escape(names)} (trial {source.trial.number})</h3>{_formats(result, source)}")
        for names, source in picked
    ]
    return section("exports", "Exports", paragraph(folder), *parts)


def _formats(result: Result, source: Source) -> Html:
    return join(details(name, _files(result, source, name), "to-copy") for name in EXPORTERS)


def _files(result: Result, source: Source, name: str) -> Html:
    try:
        files = export_trial(result, source.trial, name)
    except UsageError as error:
        return paragraph(f"No export: {error}")
    return join(Html(f"<h4>{escape(file)}</h4><pre>{escape(text)}</pre>") for file, text in files.items())
