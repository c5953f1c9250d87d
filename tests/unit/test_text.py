"""Text from elsewhere, as a terminal and as Markdown show it."""

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.text import encodable, markdown_text, one_line, printable

ATTACKS = [
    "\x1b]52;c;cm0gLXJmIH4=\x07",  # sets the clipboard
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\x9b2J",  # the same, as one C1 control
    "model\u202egpj.gguf",  # reads from right to left
    "a\u2066b\u2069",
    "zero\u200bwidth",
    "over\rwritten",
    "backspace\b\b\b",
    "line\u2028separator",
    "tab\there",
    "half\udcffcharacter",
]


@pytest.mark.parametrize("text", ATTACKS, ids=ascii)
def test_what_a_terminal_obeys_is_written_out(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert "\\" in shown


@pytest.mark.parametrize("text", ["모델-이름.gguf", "año × ± → 3", "emoji 🦙", "ideographic\u3000space", "two\nlines"])
def test_text_that_can_be_read_stays(text: str) -> None:
    assert printable(text) == text


@given(st.text())
def test_no_text_keeps_a_character_that_cannot_be_seen(text: str) -> None:
    shown = printable(text)
    assert {unicodedata.category(char) for char in shown if char != "\n"}.isdisjoint(
        {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    )
    assert "\n" not in one_line(text)


@given(st.text(), st.sampled_from(["ascii", "cp949", "cp1252", "latin-1", "utf-8"]))
def test_any_encoding_holds_any_text(text: str, encoding: str) -> None:
    assert encodable(text, encoding).encode(encoding).decode(encoding) == encodable(text, encoding)


def test_signs_of_ours_have_plain_substitutes() -> None:
    assert encodable("5 ±1 × 2 – 3 → 4 …│└─", "ascii") == "5 +-1 x 2 - 3 -> 4 ...|+-"
    assert encodable("모델", "ascii") == "??"


@given(st.text())
def test_markdown_shows_the_text_and_no_mark_of_it_counts(text: str) -> None:
    escaped = markdown_text(text)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[`|*]", escaped)
    assert html.unescape(re.sub(r"\\([\\`*|\[_~])", r"\1", escaped)) == html.unescape(
        one_line(text).replace("&", "&amp;")
    )


def test_what_markdown_leaves_alone_is_left_alone() -> None:
    assert markdown_text("n_gpu_layers = 3, 4 [old]") == "n_gpu_layers = 3, 4 [old]"
    assert markdown_text("[click](http://x) _now_ a|b <img src=x> `rm`") == (
        "\\[click](http://x) \\_now\\_ a\\|b &lt;img src=x> \\`rm\\`"
    )
