"""Charts as inline SVG: axes, marks, and labels that do not overlap.

Each is drawn twice, for a wide page and for a phone, where a scaled one would be unreadable. Colours come from the
page's CSS classes, so that charts follow light, dark and print.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from layertune.report.markup import Html, escape, join

WIDE, NARROW = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 44
_N_TICKS = 5
# Of the page's 11 px chart font: mean advance and line height.
_ADVANCE, _HEIGHT, _GAP = 6.4, 12.0, 12.0

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """`low` to `high` in the label's unit, drawn from `start` to `end` in SVG units."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    start: float = 0.0
    end: float = 1.0

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def spanning(self, start: float, end: float) -> "Axis":
        return Axis(self.label, self.low, self.high, self.ticks, start, end)


def axis(label: str, values: Sequence[float], *, whole: bool = False, from_zero: bool = True) -> Axis:
    """Return an axis that ends a little above the largest value; with `whole`, all ticks are whole numbers.

    It starts at 0, so that half the height is half the speed. Without `from_zero` it may start just below the smallest
    value, which separates points that are close together.
    """
    top = max([value for value in values if value > 0], default=1.0)
    low = 0.0 if from_zero else min(values, default=0.0)
    if low < top / 2 or low == top:
        low, margin = 0.0, 0.06 * top
    else:
        margin = max(0.12 * (top - low), 0.002 * top)  # values may differ by less than a float can show
        low -= margin
    step = _round_step((top - low) / _N_TICKS)
    if whole:
        step = max(1.0, float(round(step)))
    high = top + margin
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return Axis(label, low, high, tuple(step * n for n in range(first, last + 1)))


def tick_text(value: float) -> str:
    return f"{value:.10g}"


@dataclass(frozen=True, slots=True)
class Chart:
    """Two axes in an SVG of `width` by `height`."""

    x: Axis
    y: Axis
    width: int
    height: int

    @classmethod
    def of(cls, x: Axis, y: Axis, width: int, height: int, below: int = 0) -> "Chart":
        """Return a chart with `below` units of free space under the label of the horizontal axis."""
        bottom = height - _BOTTOM - below
        return cls(x.spanning(_LEFT, width - _RIGHT), y.spanning(bottom, _TOP), width, height)

    def svg(self, name: str, *marks: Html) -> Html:
        """Return the SVG; screen readers read `name`."""
        left, right, top, bottom = self.x.start, self.x.end, self.y.end, self.y.start
        lines = [
            *(f'<path class="grid" d="M{self.x(at):.1f} {top:.1f}V{bottom:.1f}"/>' for at in self.x.ticks),
            *(f'<path class="grid" d="M{left:.1f} {self.y(at):.1f}H{right:.1f}"/>' for at in self.y.ticks),
            f'<path class="axis" d="M{left:.1f} {top:.1f}V{bottom:.1f}H{right:.1f}"/>',
        ]
        texts = [
            *(text(self.x(at), bottom + 16, tick_text(at), "middle") for at in self.x.ticks),
            *(text(left - 6, self.y(at) + 4, tick_text(at), "end") for at in self.y.ticks),
            text((left + right) / 2, bottom + _BOTTOM - 6, self.x.label, "middle", "label"),
            Html(
                f'<text class="label" text-anchor="middle" transform="translate(13 {(top + bottom) / 2:.1f}) '
                f'rotate(-90)">{escape(self.y.label)}</text>'
            ),
        ]
        return svg(name, self.width, self.height, Html("".join(lines)), *texts, *marks)


def svg(name: str, width: int, height: int, *content: Html) -> Html:
    return Html(
        f'<svg role="group" aria-label="{escape(name)}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">{join(content)}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "tick") -> Html:
    return Html(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>')


def mark(shape: Html, tip: str, values: tuple[float, float], link: str = "", *, in_order: bool = True) -> Html:
    """Return a shape with a tooltip, which keyboard focus shows too if the shape has a link.

    `values` are the exact numbers behind the shape. Only one of a trial's marks should be `in_order`, so that Tab stops
    once at each trial.
    """
    attributes = f'class="mark" data-x="{values[0]!r}" data-y="{values[1]!r}"'
    title = f"<title>{escape(tip)}</title>"
    if link:
        order = "" if in_order else ' tabindex="-1"'
        return Html(f'<a {attributes} href="#{escape(link)}"{order}>{title}{shape}</a>')
    return Html(f"<g {attributes}>{title}{shape}</g>")


def circle(x: float, y: float, radius: float, kind: str, fill: str = "") -> Html:
    colour = f' fill="{fill}"' if fill else ""
    return Html(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"{colour}/>')


def path(shape: str, kind: str) -> Html:
    return Html(f'<path class="{kind}" d="{shape}"/>')


def whisker(chart: Chart, x: float, low: float | None, high: float | None) -> Html:
    """Return an interval as a vertical bar within the chart; empty without one."""
    if low is None or high is None:
        return Html("")
    return path(f"M{x:.1f} {chart.y(max(low, chart.y.low)):.1f}V{chart.y(high):.1f}", "interval")


def cross(x: float, y: float, reach: float, kind: str) -> Html:
    return path(
        f"M{x - reach:.1f} {y - reach:.1f}l{2 * reach:g} {2 * reach:g}m0 {-2 * reach:g}l{-2 * reach:g} {2 * reach:g}",
        kind,
    )


def diamond(x: float, y: float, reach: float, kind: str) -> Html:
    return path(f"M{x:.1f} {y - reach:.1f}l{reach:g} {reach:g}l{-reach:g} {reach:g}l{-reach:g} {-reach:g}z", kind)


def both_widths(draw: Callable[[int], Html]) -> Html:
    return Html(f'<div class="wide">{draw(WIDE)}</div><div class="narrow">{draw(NARROW)}</div>')


def figure(caption: str, *pictures: Html) -> Html:
    return Html(
        f'<figure><div class="pictures">{join(pictures)}</div><figcaption>{escape(caption)}</figcaption></figure>'
    )


def place(points: Sequence[tuple[float, float, str]], inside: Box, taken: Sequence[Box] = ()) -> Html:
    """Return a label for each (x, y, words), in that order, that covers no other one and stays `inside`.

    If there is no room for all words, the first word is tried, then the label is left out. The point's tooltip and the
    table still have the name.
    """
    boxes, drawn = list(taken), list[Html]()
    for x, y, words in points:
        for label in dict.fromkeys((words, words.split(" ")[0])):
            box = next((box for box in _places(x, y, label) if _free(box, inside, boxes)), None)
            if box is not None:
                boxes.append(box)
                drawn.append(text(box[0], box[3] - 2, label, kind="name"))
                break
    return Html("".join(drawn))


def _places(x: float, y: float, words: str) -> Iterator[Box]:
    """Yield the places right of a point, above, below and left of it."""
    width = _ADVANCE * len(words)
    for left, middle in (
        (x + _GAP, y),
        (x - width / 2, y - _GAP - _HEIGHT / 2),
        (x - width / 2, y + _GAP + _HEIGHT / 2),
        (x - _GAP - width, y),
    ):
        yield left, middle - _HEIGHT / 2, left + width, middle + _HEIGHT / 2


def _free(box: Box, inside: Box, boxes: Sequence[Box]) -> bool:
    return _within(box, inside) and not any(_overlap(box, other) for other in boxes)


def _within(box: Box, inside: Box) -> bool:
    return box[0] >= inside[0] and box[1] >= inside[1] and box[2] <= inside[2] and box[3] <= inside[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 and 10 times a power of ten that is not below `least`."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))
