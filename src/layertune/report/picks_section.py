"""What the study recommends, first."""

from layertune.report.columns import model_cells, model_headings
from layertune.report.html_table import table
from layertune.report.markup import Html, escape, paragraph, section
from layertune.report.memory_section import distinct_picks, headroom_cell
from layertune.report.source import Source
from layertune.results.result import Result

_MEANINGS = (
    "balanced: the best weighted geometric mean of the models' speeds, each relative to its best on the front. A "
    "model's name: its fastest. lean: the least VRAM that keeps nine tenths of the balanced score."
)


def picks_section(result: Result) -> Html:
    picked = distinct_picks(result)
    if not picked:
        floors = "".join(f" and reaches {floor}" for floor in result.floors)
        return section(
            "picks", "Picks", paragraph(f"No measured trial keeps the budget{floors}: there is nothing to pick.")
        )
    headings = ["pick", "trial", *model_headings(result)]
    rows = [_row(result, names, source) for names, source in picked]
    return section(
        "picks", "Picks", table("The picks", [*headings, "peak VRAM", "headroom"], rows), paragraph(_MEANINGS, "note")
    )


def _row(result: Result, names: str, source: Source) -> list[Html]:
    cells = [escape(names), source.number()]
    cells += model_cells(result, source)
    return [*cells, source.peak(), headroom_cell(result, source)]
