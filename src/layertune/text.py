"""Text that comes from files and other programs, made safe to show to a person.

A model file's name, a GGUF's architecture or a server's answer can hold anything: sequences that a terminal obeys,
characters that reorder a line, Markdown, line ends that look like output of ours. JSON and exported files have quoting
of their own and do not use this module.
"""

import codecs
import re
import unicodedata

SUBSTITUTE_ERRORS = "layertune-substitute"  # a codec error handler, for `open` and `TextIOWrapper.reconfigure`

_SUBSTITUTES = {
    "–": "-",
    "—": "-",
    "−": "-",
    "─": "-",
    "━": "-",
    "│": "|",
    "├": "+",
    "└": "+",
    "×": "x",
    "·": ".",
    "•": "*",
    "±": "+-",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "…": "...",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "²": "^2",
    "⁹": "^9",
    "µ": "u",
}
# What begins something in Markdown, wherever it stands; an underscore within a word does not.
_MARKDOWN = re.compile(r"[\\`*|]|\[(?=[^\]]*\][(\[:])|(?<!\w)_|_(?!\w)|~(?=~)")


def printable(text: str) -> str:
    r"""Return a text in which every character can be seen: control characters, marks of direction and other invisible
    ones are written as escapes, like `\x1b`. Line ends stay."""
    if text.isprintable():
        return text
    return "".join(char if _is_visible(char) else _escaped(char) for char in text)


def one_line(text: str) -> str:
    r"""Return a printable text without line ends, which become `\n`."""
    return printable(text).replace("\n", r"\n")


def encodable(text: str, encoding: str) -> str:
    """Return a text that this encoding can hold, with plain substitutes for the characters that it lacks."""
    return text.encode(encoding, SUBSTITUTE_ERRORS).decode(encoding)


def markdown_text(text: str) -> str:
    """Return a text as Markdown that shows just this text, within a paragraph, a list or a table's cell."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text).replace("&", "&amp;").replace("<", "&lt;"))


def _is_visible(char: str) -> bool:
    return char == "\n" or char.isprintable() or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SUBSTITUTES.get(char, "?") for char in lacking), error.end


codecs.register_error(SUBSTITUTE_ERRORS, _substitute)
