"""HTML out of texts that nobody vouches for: a study's name, a file's, a llama.cpp log line.

What is HTML already has a type of its own, so a text that nobody has escaped does not pass the type checker.
"""

import html
from collections.abc import Iterable
from typing import NewType

Html = NewType("Html", str)


def escape(text: str) -> Html:
    """Return a text as it may stand in an element or between an attribute's quotes, whatever it holds.

    Halves of characters (how Python reads names that are no UTF-8) and control characters become U+FFFD: no file can
    hold the former, and no page shows the latter.
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
    """Return a section that `#name` leads to; `name` is a plain word of ours."""
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return Html(f'<section id="{name}" aria-labelledby="{name}-title">{heading}{join(content)}</section>')


def _shown(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or (char.isspace() and char > "\x9f")
