"""The columns that every table of trials has for each model: settings, and speed alone and together."""

from layertune.report.markup import Html, escape
from layertune.report.source import Source, speed_unit
from layertune.results.result import Result


def model_headings(result: Result) -> list[str]:
    unit = speed_unit(result)
    return [
        heading
        for name in result.models
        for heading in (f"{name} settings", f"{name} alone, {unit}", f"{name} together, {unit}")
    ]


def model_cells(result: Result, source: Source) -> list[Html]:
    cells: list[Html] = []
    for name in result.models:
        cells.append(source.settings(name))
        for quantity in ("tokens_per_s", "tokens_per_s_together"):
            cells.append(escape("–") if source.trial.metrics is None else source.speed(name, quantity))
    return cells
