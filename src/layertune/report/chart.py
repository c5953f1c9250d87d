"""Figures as inline SVG, drawn twice: for a wide page and for a phone, where a scaled one could not be read.

Colours are the page's (CSS classes), so figures follow light, dark and print.
"""

from collections.abc import Callable
from dataclasses import dataclass

from layertune.report.axis import Axis, tick_text
from layertune.report.markup import Html, escape, join

WIDE, NARROW = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 44


@dataclass(frozen=True, slots=True)
class Chart:
    """Two axes in a figure of `width` by `height`."""

    x: Axis
    y: Axis
    width: int
    height: int

    @classmethod
    def of(cls, x: Axis, y: Axis, width: int, height: int, below: int = 0) -> "Chart":
        """Return a chart that leaves `below` under the name of its horizontal axis."""
        bottom = height - _BOTTOM - below
        return cls(x.spanning(_LEFT, width - _RIGHT), y.spanning(bottom, _TOP), width, height)

    def svg(self, name: str, *marks: Html) -> Html:
        """Return the figure; `name` is what a screen reader calls it."""
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
    """Return a shape that tells `tip` when it is pointed at and, with a link, when it is reached by keyboard.

    `values` are the exact figures it stands for. Of several marks of a trial only one is to be `in_order`: the others
    would make Tab stop at it again and again.
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
