"""The memory of each pick against the budget: what it is made of, and what is left."""

from functools import partial

from layertune.report.axis import axis
from layertune.report.chart import both_widths, figure, mark, path, svg, text
from layertune.report.front_figure import memory_unit
from layertune.report.html_table import table
from layertune.report.markup import Html, escape, join, paragraph, section
from layertune.report.memory_parts import MemoryPart, memory_parts
from layertune.report.numbers import NOT_RECORDED, number, size
from layertune.report.source import Source, chosen
from layertune.results.result import Result
from layertune.units import format_bytes

KINDS = {"weights": "weights", "kv": "KV cache", "compute": "compute and output", "overhead": "overhead"}

_CAPTION = (
    "Each bar is a pick's peak on the device: weights, KV cache and compute buffers as llama.cpp reported them, one "
    "part a model in the order of the table, then overhead, the peak beyond these buffers (driver, context; a little "
    "below 0 is the log's rounding). The pale part up to the dashed line, the budget without its margin, is "
    "headroom."
)
_ROW, _BAR = 58, 26


def memory_section(result: Result) -> Html:
    picked = distinct_picks(result)
    told = [(names, source, parts) for names, source in picked if (parts := memory_parts(source)) is not None]
    title = "VRAM of the picks"
    if not picked:
        return section("memory", title, paragraph("There is no pick."))
    if not told:
        return section("memory", title, paragraph("Buffers on a device: not recorded."))
    pictures = both_widths(partial(_picture, result, told))
    shown = figure(_CAPTION, join([_legend(), pictures]))
    return section("memory", title, shown, _table(result, told))


def distinct_picks(result: Result) -> list[tuple[str, Source]]:
    """Return each picked trial once, with the names of all picks that it is."""
    names: dict[int, list[str]] = {}
    for pick, picked in result.picks.items():
        names.setdefault(picked, []).append(pick)
    return [(", ".join(names[source.trial.number]), source) for source in chosen(result, names)]


def headroom_bytes(result: Result, source: Source) -> tuple[int, str] | None:
    """Return what the trial leaves of the budget, by the study's own constraint where it was recorded (which counts
    every server process's overhead), and the place it was read from. Of several devices it is what all of them leave,
    as their peak and their budget are those of all: the constraint is the fullest one's."""
    excess = source.trial.violations.get("vram")
    if excess is not None and result.budget.devices is None:
        return -round(excess), source.at + "/violations/vram"
    capacity_bytes = result.budget.capacity_bytes()
    if capacity_bytes is None or source.trial.vram is None:
        return None
    return capacity_bytes - source.trial.vram.peak_bytes, ""


def _picture(result: Result, told: list[tuple[str, Source, list[MemoryPart]]], width: int) -> Html:
    limit = result.budget.capacity_bytes()
    peaks = [source.trial.vram.peak_bytes for _, source, _ in told if source.trial.vram is not None]
    unit_bytes, unit = memory_unit(max([*peaks, limit or 0]))
    x = axis(f"VRAM ({unit})", [max([*peaks, limit or 0]) / unit_bytes]).spanning(10, width - 14)
    height = _ROW * len(told) + 56
    bottom = height - 44.0
    ticks = [path(f"M{x(at):.1f} 6V{bottom:.1f}", "grid") for at in x.ticks]
    names = [text(x(at), bottom + 16, f"{at:g}", "middle") for at in x.ticks]
    bars = [_bar(result, each, x.start, at * _ROW + 26, (x(1) - x(0)) / unit_bytes) for at, each in enumerate(told)]
    drawn = [*ticks, *names, text(width / 2, height - 8, x.label, "middle", "label"), *bars]
    if limit is not None:
        at = x(limit / unit_bytes)
        drawn += [
            path(f"M{at:.1f} 4V{bottom:.1f}", "budget"),
            text(at - 4, 13, f"budget {format_bytes(limit)}", "end", "budget-name"),
        ]
    return svg("Memory of the picks against the budget", width, height, *drawn)


def _bar(result: Result, told: tuple[str, Source, list[MemoryPart]], left: float, top: float, per_byte: float) -> Html:
    names, source, parts = told
    drawn, at = [text(left, top - 4, f"trial {source.trial.number}: {names}", kind="name")], left
    for part in parts:
        width = max(part.n_bytes, 0) * per_byte
        if width > 0:
            drawn.append(_segment(part, at, top, width))
        at += width
    left_over = headroom_bytes(result, source)
    if left_over is not None and left_over[0] > 0:
        free = Html(
            f'<rect class="headroom" x="{at:.1f}" y="{top:.1f}" width="{left_over[0] * per_byte:.1f}" height="{_BAR}"/>'
        )
        drawn.append(mark(free, f"headroom {format_bytes(left_over[0])}", (left_over[0], source.trial.number)))
    return join(drawn)


def _segment(part: MemoryPart, x: float, y: float, width: float) -> Html:
    shape = Html(f'<rect class="part {part.kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}"/>')
    name = _name(part)
    # Six units a letter, and a margin: a name that its part is too short for is in the table.
    label = text(x + 5, y + 17, name, kind="in-part") if width > 6.4 * len(name) + 8 else Html("")
    return join([mark(shape, f"{name}: {format_bytes(part.n_bytes)}", (part.n_bytes, 0)), label])


def _legend() -> Html:
    keys = [(f"part {kind}", name) for kind, name in KINDS.items()] + [("headroom", "headroom")]
    items = (
        Html(
            f'<li><svg width="12" height="12" aria-hidden="true"><rect class="{kind}" width="12" height="12"/></svg> '
            f"{escape(name)}</li>"
        )
        for kind, name in keys
    )
    return Html(f'<ul class="legend">{join(items)}</ul>')


def _table(result: Result, told: list[tuple[str, Source, list[MemoryPart]]]) -> Html:
    """Return the parts as rows, and each picked trial as a column."""
    limit = result.budget.capacity_bytes()
    budget = NOT_RECORDED if limit is None else size(limit)
    rows = [[escape(_name(part)), *(parts[at].figures for _, _, parts in told)] for at, part in enumerate(told[0][2])]
    rows.append([escape("peak"), *(source.peak() for _, source, _ in told)])
    rows.append([escape("budget without its margin"), *(budget for _ in told)])
    kept = [_kept_bytes(result, source) for _, source, _ in told]
    if any(kept):
        rows.append([escape("kept for further server processes"), *map(size, kept)])
    rows.append([escape("headroom"), *(headroom_cell(result, source) for _, source, _ in told)])
    headings = ["part", *(f"trial {source.trial.number}: {names}" for names, source, _ in told)]
    return table("VRAM of the picks", headings, rows)


def _name(part: MemoryPart) -> str:
    return f"{part.model} {KINDS[part.kind]}".strip()


def _kept_bytes(result: Result, source: Source) -> int:
    """Return what of the budget is neither in the peak nor headroom."""
    left_over, capacity_bytes, vram = headroom_bytes(result, source), result.budget.capacity_bytes(), source.trial.vram
    if left_over is None or capacity_bytes is None or vram is None:
        return 0
    return capacity_bytes - vram.peak_bytes - left_over[0]


def headroom_cell(result: Result, source: Source) -> Html:
    """Where the study's constraint was recorded, result.json has it as an excess: the same figure below 0. Of several
    devices the fullest one's stands behind that of all."""
    left_over = headroom_bytes(result, source)
    if left_over is None:
        return NOT_RECORDED
    left_bytes, at = left_over
    excess = source.trial.violations.get("vram")
    if excess is None:
        return size(left_bytes)
    recorded = number(excess, format_bytes(-round(excess)), source.at + "/violations/vram")
    return recorded if at else Html(f"{size(left_bytes)} in all, {recorded} on the fullest device")
