"""A report as a reader without a browser sees it: its elements, figures and marks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "rect", "path", "circle"}


@dataclass
class Figure:
    """A `<data>` element: the exact value, the place in result.json that it names, and the text shown."""

    value: float
    at: str
    text: str = ""


@dataclass
class Page(HTMLParser):
    """What a page holds; `texts` are the texts outside style and script, `attributes` are (element, name, value)."""

    figures: list[Figure] = field(default_factory=list)
    marks: list[tuple[float, float]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, html: str) -> "Page":
        page = cls()
        HTMLParser.__init__(page)
        page.feed(html)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in told.items()]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.figures.append(Figure(float(told["value"]), told.get("data-at", "")))
        if "data-x" in told:
            self.marks.append((float(told["data-x"]), float(told["data-y"])))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "data":
            self.figures[-1].text += data
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def resolve(document: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer (RFC 6901)."""
    for key in pointer.split("/")[1:]:
        name = key.replace("~1", "/").replace("~0", "~")
        document = document[name] if isinstance(document, Mapping) else document[int(name)]
    return document


def as_json(result: Any) -> Any:
    return json.loads(result.model_dump_json())
