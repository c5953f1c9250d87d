"""Every trial, with all its settings and figures."""

from layertune.report.columns import model_cells, model_headings
from layertune.report.html_table import table
from layertune.report.markup import Html, details, escape, section
from layertune.report.numbers import count, duration
from layertune.report.source import Source, sources
from layertune.results.result import Result


def trials_section(result: Result) -> Html:
    there = sources(result)
    headings = ["trial", "state", *model_headings(result)]
    headings += ["peak VRAM", "rounds of the finals", "rounds after them", "stood for by", "duration"]
    rows = [_row(result, source) for source in there]
    anchors = [f"trial-{source.trial.number}" for source in there]
    shown = table("Every trial; a reason and warnings are under search history and noise", headings, rows, anchors)
    return section("trials", "All trials", details(f"All {len(there)} trials", shown))


def _row(result: Result, source: Source) -> list[Html]:
    trial = source.trial
    over = f", over {' and '.join(trial.exceeded())}" if trial.exceeded() else ""
    cells = [count(trial.number, source.at + "/number"), escape(trial.state + over)]
    cells += model_cells(result, source)
    return [
        *cells,
        source.peak() if trial.vram is not None else escape("–"),
        count(trial.n_rounds, source.at + "/n_rounds") if trial.n_rounds else escape("–"),
        count(trial.n_confirming, source.at + "/n_confirming") if trial.n_confirming else escape("–"),
        escape("–") if trial.tied_with is None else count(trial.tied_with, source.at + "/tied_with"),
        duration(trial.duration_s, source.at + "/duration_s"),
    ]
