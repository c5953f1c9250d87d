"""Figures in the page: rounded for the eye, exact in the markup.

Every figure is a `<data>` element whose `value` is the whole number and whose `data-at` is the JSON pointer (RFC 6901)
of the place in result.json that it was read from. What was computed for the page has no pointer.
"""

from layertune.report.markup import Html, escape
from layertune.units import format_bytes, format_duration

NOT_RECORDED = Html('<span class="none">not recorded</span>')


def pointer(*keys: str | int) -> str:
    """Return the JSON pointer of a place in result.json."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def number(value: float, text: str, at: str = "") -> Html:
    where = f' data-at="{escape(at)}"' if at else ""
    return Html(f'<data value="{value!r}"{where}>{escape(text)}</data>')


def count(value: int, at: str = "") -> Html:
    return number(value, str(value), at)


def rate(value: float, at: str = "") -> Html:
    return number(value, rate_text(value), at)


def size(size_bytes: int, at: str = "") -> Html:
    return number(size_bytes, format_bytes(size_bytes), at)


def duration(duration_s: float, at: str = "") -> Html:
    return number(duration_s, format_duration(duration_s), at)


def percent(share: float, at: str = "") -> Html:
    return number(share, f"{share:.1%}", at)


def rate_text(value: float) -> str:
    """Return three digits or more: a large model on a CPU has tenths of a token a second to tell apart."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
