"""What each pick becomes in other programs' files, ready to copy."""

from layertune.errors import UsageError
from layertune.export import EXPORTERS, MODELS_DIR
from layertune.report.markup import Html, details, escape, join, paragraph, section
from layertune.report.memory_section import distinct_picks
from layertune.report.source import Source
from layertune.results.result import Result


def exports_section(result: Result) -> Html:
    picked = distinct_picks(result)
    if not picked:
        return section("exports", "Exports", paragraph("There is no pick to export."))
    where = f"Model files are taken to lie in {MODELS_DIR}; layertune export --models-dir DIR writes another folder."
    parts = [
        Html(f"<h3>{escape(names)} (trial {source.trial.number})</h3>{_formats(result, source)}")
        for names, source in picked
    ]
    return section("exports", "Exports", paragraph(where), *parts)


def _formats(result: Result, source: Source) -> Html:
    return join(details(name, _files(result, source, name), "to-copy") for name in EXPORTERS)


def _files(result: Result, source: Source, name: str) -> Html:
    try:
        files = EXPORTERS[name](result, source.trial, MODELS_DIR)
    except UsageError as error:
        return paragraph(f"No export: {error}")
    return join(Html(f"<h4>{escape(file)}</h4><pre>{escape(text)}</pre>") for file, text in files.items())
