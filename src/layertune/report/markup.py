"""HTML elements from untrusted text: names of studies and files, lines of llama.cpp's log.

`Html` is a type of its own, so the type checker rejects text that was not escaped.

Every value is a `<data>` element: rounded for reading, with the exact number in `value`. Its `data-at` is the JSON
pointer (RFC 6901) of its source in result.json. A value computed for the page has no `data-at`.
"""

import html
from collections.abc import Iterable, Sequence
from typing import NewType

from layertune.units import format_bytes, format_duration

Html = NewType("Html", str)
NOT_RECORDED = Html('<span class="none">not recorded</span>')


def escape(text: str) -> Html:
    """Return any text so that it is safe in an element or in a quoted attribute.

    Lone surrogates (from file names that are not UTF-8) cannot be written to a file, and browsers do not show control
    characters. Both become U+FFFD.
    """
    return Html(html.escape("".join(char if _shown(char) else "\ufffd" for char in text), quote=True))


def join(parts: Iterable[Html], between: str = "") -> Html:
    return Html(between.join(parts))


def paragraph(text: str, kind: str = "") -> Html:
    return Html(f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>")


def details(summary: str, content: Html, kind: str = "") -> Html:
    mark = f' class="{kind}"' if kind else ""
    return Html(f"<details{mark}><summary>{escape(summary)}</summary>{content}</details>")


def section(name: str, title: str, *content: Html) -> Html:
    """Return a section with the anchor `name`, which is not escaped."""
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return Html(f'<section id="{name}" aria-labelledby="{name}-title">{heading}{join(content)}</section>')


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
    """Return at least three digits: a large model on a CPU may generate less than one token a second."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Html]], ids: Sequence[str] = ()) -> Html:
    """Return a table; the first cell of a row is its heading, and `ids` are the rows' anchors.

    On a phone, CSS shows a row of more than two cells as a block, with a heading before each cell. Browsers do not
    treat that as a table, so the roles are explicit.
    """
    head = join(Html(f'<th scope="col" role="columnheader">{escape(each)}</th>') for each in headings)
    kind = "many" if len(headings) > 2 else "few"  # two columns fit a phone
    body = join(_row(headings, row, ids[at] if ids else "") for at, row in enumerate(rows))
    return Html(
        f'<div class="scroll"><table class="{kind}" role="table"><caption>{escape(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table></div>'
    )


def _row(headings: Sequence[str], cells: Sequence[Html], anchor: str) -> Html:
    first, *others = cells
    labels = [escape(heading) for heading in headings]
    content = join(
        Html(f'<td role="cell" data-label="{label}"><div>{cell}</div></td>')
        for label, cell in zip(labels[1:], others, strict=True)
    )
    mark = f' id="{escape(anchor)}"' if anchor else ""
    named = f'<th scope="row" role="rowheader" data-label="{labels[0]}"><div>{first}</div></th>'
    return Html(f'<tr role="row"{mark}>{named}{content}</tr>')


def _shown(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or (char.isspace() and char > "\x9f")
