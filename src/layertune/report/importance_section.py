"""Which settings the speeds went with."""

from functools import partial

from layertune.report.association import LEAST_TRIALS, Association, associations, chance_share
from layertune.report.axis import axis
from layertune.report.chart import both_widths, figure, mark, path, svg, text
from layertune.report.html_table import table
from layertune.report.markup import Html, escape, paragraph, section
from layertune.report.numbers import number, percent
from layertune.report.source import measured
from layertune.results.result import Result

_CAPTION = (
    "Share of the variance of each model's speed ranks (tokens/s alone, as the search measured them) that goes with "
    "one setting's ranks: the square of Spearman's correlation, over {n} measured trials. One setting in twenty gets "
    "beyond the dashed line by chance. It is no experiment: the search moves settings together, so a bar may be "
    "another setting's doing."
)
_ROW, _TOP = 34, 8


def importance_section(result: Result) -> Html:
    there = measured(result)
    title = "Parameter importance"
    if len(there) < LEAST_TRIALS:
        few = f"{len(there)} measured trials are too few to say which setting mattered; it takes {LEAST_TRIALS}."
        return section("importance", title, paragraph(few))
    found = {name: associations(there, name) for name in result.models}
    told = {name: each for name, each in found.items() if each}
    if not told:
        return section("importance", title, paragraph("No numeric setting varied, or no speed did."))
    pictures = [both_widths(partial(_picture, name, each, len(there))) for name, each in told.items()]
    tables = [_table(name, each) for name, each in told.items()]
    return section("importance", title, figure(_CAPTION.format(n=len(there)), *pictures), *tables)


def _picture(model: str, found: list[Association], n: int, width: int) -> Html:
    x = axis(f"{model}: share of the variance of tokens/s ranks (%)", [100.0]).spanning(8, width - 14)
    bottom = _TOP + _ROW * len(found)
    grid = [path(f"M{x(at):.1f} {_TOP}V{bottom}", "grid") for at in x.ticks]
    ticks = [text(x(at), bottom + 16, f"{at:g}", "middle") for at in x.ticks]
    bars = [_bar(each, x.start, _TOP + _ROW * at, x(100 * each.share)) for at, each in enumerate(found)]
    chance = x(100 * chance_share(n))
    line = path(f"M{chance:.1f} {_TOP}V{bottom}", "budget")
    label = text(width / 2, bottom + 34, x.label, "middle", "label")
    return svg(f"What the speed of {model} went with", width, bottom + 42, *grid, *ticks, *bars, line, label)


def _bar(each: Association, left: float, top: float, right: float) -> Html:
    bar = Html(f'<rect class="bar" x="{left:.1f}" y="{top + 16:.1f}" width="{max(right - left, 1):.1f}" height="12"/>')
    tip = f"{each.setting}: {each.share:.1%}, correlation {each.rho:+.2f}"
    return Html(text(left, top + 12, each.setting, kind="name") + mark(bar, tip, (each.share, each.rho)))


def _table(model: str, found: list[Association]) -> Html:
    rows = [[escape(each.setting), percent(each.share), number(each.rho, f"{each.rho:+.2f}")] for each in found]
    return table(f"What the speed of {model} went with", ["setting", "share of variance", "rank correlation"], rows)
