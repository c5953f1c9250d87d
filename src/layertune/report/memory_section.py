"""The memory of each pick compared with the budget: its parts, and the headroom."""

from dataclasses import dataclass
from functools import partial

from layertune.memory import HOST
from layertune.report.chart import axis, both_widths, figure, mark, path, svg, text
from layertune.report.front_figure import memory_unit
from layertune.report.markup import NOT_RECORDED, Html, escape, join, number, paragraph, pointer, section, size, table
from layertune.report.source import Source, distinct_picks
from layertune.results.result import Result
from layertune.results.trial_info import BufferInfo
from layertune.units import format_bytes

KINDS = {"weights": "weights", "kv": "KV cache", "compute": "compute and output", "overhead": "overhead"}
_FIELDS = {"weights": ("weights_bytes",), "kv": ("kv_bytes",), "compute": ("compute_bytes", "output_bytes")}

_CAPTION = (
    "Each bar is a pick's peak on the device: weights, KV cache and compute buffers as llama.cpp reported them, with "
    "one part per model in the order of the table, then overhead. Overhead is the rest of the peak (driver, context). "
    "It can be a little below 0, because the log is rounded. The pale part is headroom. The dashed line is the budget "
    "without its margin."
)
_ROW, _BAR = 58, 26


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A part of the peak: `kind` is one of KINDS, and `model` is empty for overhead.

    `cell` is the part as shown in the table, as a sum of values with their places in result.json.
    """

    kind: str
    model: str
    n_bytes: int
    cell: Html


# A pick's names, its trial, and the parts of its peak.
Pick = tuple[str, Source, list[MemoryPart]]


def memory_parts(source: Source) -> list[MemoryPart] | None:
    """Return llama.cpp's buffers on the device by model, and the overhead; None if result.json lacks either."""
    trial = source.trial
    if trial.vram is None or trial.buffers is None:
        return None
    parts = [_part(kind, model, source, fields) for kind, fields in _FIELDS.items() for model in trial.settings]
    overhead_bytes, at = trial.vram.unaccounted_bytes, source.at + "/vram/unaccounted_bytes"
    if overhead_bytes is None:
        overhead_bytes, at = trial.vram.peak_bytes - sum(part.n_bytes for part in parts), ""
    return [*parts, MemoryPart("overhead", "", overhead_bytes, size(overhead_bytes, at))]


def memory_section(result: Result) -> Html:
    picked = distinct_picks(result)
    known = [(names, source, parts) for names, source in picked if (parts := memory_parts(source)) is not None]
    title = "VRAM of the picks"
    if not picked:
        return section("memory", title, paragraph("There is no pick."))
    if not known:
        return section("memory", title, paragraph("Buffers on a device: not recorded."))
    pictures = both_widths(partial(_picture, result, known))
    shown = figure(_CAPTION, join([_legend(), pictures]))
    return section("memory", title, shown, _table(result, known))


def headroom_bytes(result: Result, source: Source) -> tuple[int, str] | None:
    """Return the headroom of a trial and its place in result.json, if it has one.

    The study's own constraint is used if it was recorded, because it includes the overhead of every server process.
    With several devices that constraint is the fullest device's, so the headroom is the total budget minus the peak.
    """
    excess = source.trial.violations.get("vram")
    if excess is not None and result.budget.devices is None:
        return -round(excess), source.at + "/violations/vram"
    capacity_bytes = result.budget.capacity_bytes()
    if capacity_bytes is None or source.trial.vram is None:
        return None
    return capacity_bytes - source.trial.vram.peak_bytes, ""


def headroom_cell(result: Result, source: Source) -> Html:
    """Return the headroom; of several devices the sum, then the fullest device's.

    The study's constraint is recorded as an excess, so its sign is reversed here.
    """
    headroom = headroom_bytes(result, source)
    if headroom is None:
        return NOT_RECORDED
    left_bytes, at = headroom
    excess = source.trial.violations.get("vram")
    if excess is None:
        return size(left_bytes)
    recorded = number(excess, format_bytes(-round(excess)), source.at + "/violations/vram")
    return recorded if at else Html(f"{size(left_bytes)} in all, {recorded} on the fullest device")


def _picture(result: Result, picks: list[Pick], width: int) -> Html:
    limit = result.budget.capacity_bytes()
    peaks = [source.trial.vram.peak_bytes for _, source, _ in picks if source.trial.vram is not None]
    unit_bytes, unit = memory_unit(max([*peaks, limit or 0]))
    x = axis(f"VRAM ({unit})", [max([*peaks, limit or 0]) / unit_bytes]).spanning(10, width - 14)
    height = _ROW * len(picks) + 56
    bottom = height - 44.0
    ticks = [path(f"M{x(at):.1f} 6V{bottom:.1f}", "grid") for at in x.ticks]
    names = [text(x(at), bottom + 16, f"{at:g}", "middle") for at in x.ticks]
    bars = [_bar(result, each, x.start, at * _ROW + 26, (x(1) - x(0)) / unit_bytes) for at, each in enumerate(picks)]
    drawn = [*ticks, *names, text(width / 2, height - 8, x.label, "middle", "label"), *bars]
    if limit is not None:
        at = x(limit / unit_bytes)
        drawn += [
            path(f"M{at:.1f} 4V{bottom:.1f}", "budget"),
            text(at - 4, 13, f"budget {format_bytes(limit)}", "end", "budget-name"),
        ]
    return svg("Memory of the picks against the budget", width, height, *drawn)


def _bar(result: Result, pick: Pick, left: float, top: float, per_byte: float) -> Html:
    names, source, parts = pick
    drawn, at = [text(left, top - 4, f"trial {source.trial.number}: {names}", kind="name")], left
    for part in parts:
        width = max(part.n_bytes, 0) * per_byte
        if width > 0:
            drawn.append(_segment(part, at, top, width))
        at += width
    headroom = headroom_bytes(result, source)
    if headroom is not None and headroom[0] > 0:
        free = Html(
            f'<rect class="headroom" x="{at:.1f}" y="{top:.1f}" width="{headroom[0] * per_byte:.1f}" height="{_BAR}"/>'
        )
        drawn.append(mark(free, f"headroom {format_bytes(headroom[0])}", (headroom[0], source.trial.number)))
    return join(drawn)


def _segment(part: MemoryPart, x: float, y: float, width: float) -> Html:
    shape = Html(f'<rect class="part {part.kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}"/>')
    name = _name(part)
    # 6.4 units per letter and a margin. A name that is too long for its part is only in the table.
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


def _table(result: Result, picks: list[Pick]) -> Html:
    """Return a table with a row per part and a column per picked trial."""
    limit = result.budget.capacity_bytes()
    budget = NOT_RECORDED if limit is None else size(limit)
    rows = [[escape(_name(part)), *(parts[at].cell for _, _, parts in picks)] for at, part in enumerate(picks[0][2])]
    rows.append([escape("peak"), *(source.peak() for _, source, _ in picks)])
    rows.append([escape("budget without its margin"), *(budget for _ in picks)])
    reserved = [_reserved_bytes(result, source) for _, source, _ in picks]
    if any(reserved):
        rows.append([escape("reserved for further server processes"), *map(size, reserved)])
    rows.append([escape("headroom"), *(headroom_cell(result, source) for _, source, _ in picks)])
    headings = ["part", *(f"trial {source.trial.number}: {names}" for names, source, _ in picks)]
    return table("VRAM of the picks", headings, rows)


def _name(part: MemoryPart) -> str:
    return f"{part.model} {KINDS[part.kind]}".strip()


def _reserved_bytes(result: Result, source: Source) -> int:
    """Return the part of the budget that is neither in the peak nor headroom."""
    headroom, capacity_bytes, vram = headroom_bytes(result, source), result.budget.capacity_bytes(), source.trial.vram
    if headroom is None or capacity_bytes is None or vram is None:
        return 0
    return capacity_bytes - vram.peak_bytes - headroom[0]


def _part(kind: str, model: str, source: Source, fields: tuple[str, ...]) -> MemoryPart:
    values = [
        (getattr(held, field), source.at + pointer("buffers", model, device, field))
        for device, held in _on_device(source, model)
        for field in fields
    ]
    shown = [each for each in values if each[0] > 0] or values[:1]
    text = join([size(n_bytes, at) for n_bytes, at in shown], " + ") if shown else size(0)
    return MemoryPart(kind, model, sum(n_bytes for n_bytes, _ in values), text)


def _on_device(source: Source, model: str) -> list[tuple[str, BufferInfo]]:
    held = (source.trial.buffers or {}).get(model, {})
    return [(device, buffers) for device, buffers in held.items() if device != HOST]
