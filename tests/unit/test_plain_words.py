"""Plain words: no page may get more long sentences, or more words that a reader stops at, than it has."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "studies" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
MOST_WORDS = 30

# Use instead: report, result or speed; measure or time; fix; next to or with; compare; check; validation run; initial
# design; converged; candidate; planned; result on the device; case study.
UNUSUAL = re.compile(
    r"\b(told|tells?|figures?|clock(ed|ing)|mend(s|ed|ing)?|beside|h[eo]lds? against|walk(s|ed|ing)?"
    r"|corners?|confirming rounds?|first settings|calm|promising|by plan|verdict of|worksheets?|whoever"
    r"|nobody (knows|can))\b",
    re.IGNORECASE,
)

# page: (sentences over 30 words, unusual words). Lower a number when you have fixed some; a new page has none.
LIMITS = {
    "ARCHITECTURE.md": (0, 1),  # Optuna's "tell"
    "docs/report.md": (0, 3),  # figures that are drawn
}


def paragraphs(markdown: str) -> Iterator[str]:
    """Yield paragraphs, list items and table cells as plain text; code is one word, or left out if it is a block."""
    text = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?:^|(?<=\n\n))(?: {4}.*\n+)+", "\n", text)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for block in re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) |\n?\|", text):
        if words := " ".join(block.split()):
            yield words


def long_sentences(markdown: str) -> list[str]:
    sentences = (s for text in paragraphs(markdown) for s in re.split(r"(?<=[.!?])[)*_\"]* ", text))
    return [sentence for sentence in sentences if len(re.findall(r"\w[\w'.,-]*", sentence)) > MOST_WORDS]


def unusual_words(markdown: str) -> list[str]:
    return [found[0] for text in paragraphs(markdown) for found in UNUSUAL.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_gets_no_more_long_sentences_or_unusual_words(page: Path) -> None:
    markdown = page.read_text(encoding="utf-8")
    most_long, most_unusual = LIMITS.get(str(page.relative_to(ROOT)), (0, 0))
    long, unusual = long_sentences(markdown), unusual_words(markdown)
    assert len(long) <= most_long, "make two of one of these:\n" + "\n".join(long)
    assert len(unusual) <= most_unusual, f"write plain words for some of {unusual}"


def test_a_sentence_of_31_words_is_long_wherever_it_stands() -> None:
    short, long = " ".join(["word"] * 30), " ".join(["word"] * 31)
    assert (
        long_sentences(f"A.\n\n{short}.\n- {short}.\n| {short} | {short} |\n\n    {long}\n\n```sh\n{long}\n```\n") == []
    )
    assert len(long_sentences(f"{long}.\n\n- {long}.\n\n| {long} | b |\n")) == 3
    assert long_sentences(f"{short}. `a b` ends it. [{short}](page.md).") == []


def test_unusual_words_are_found_in_text_and_not_in_code() -> None:
    assert unusual_words("It tells `the figures` of both.\n\n    clocking a worksheet\n\nMended.") == [
        "tells",
        "Mended",
    ]
