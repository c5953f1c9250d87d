"""Texts in HTML."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.report.markup import escape, section


@given(text=st.text(st.characters()))
def test_an_escaped_text_holds_no_markup_and_any_file_can_hold_it(text: str) -> None:
    escaped = escape(text)
    assert not set("<>\"'") & set(escaped)
    escaped.encode("utf-8")
    assert len(html.unescape(escaped)) == len(text)


@pytest.mark.parametrize("text", ["naïve – 3 × 4", "行", "tab\tand\nline", "no-break\xa0space"])
def test_what_can_be_shown_is_kept(text: str) -> None:
    assert html.unescape(escape(text)) == text


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\r", "\x85", "\u202e", "\ud800", "\x7f"])
def test_what_cannot_be_shown_is_replaced(char: str) -> None:
    assert escape(f"a{char}b") == "a\ufffdb"


def test_a_section_is_named_by_its_title() -> None:
    assert section("noise", "A < B") == (
        '<section id="noise" aria-labelledby="noise-title"><h2 id="noise-title">A &lt; B</h2></section>'
    )
