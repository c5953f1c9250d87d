"""Makes text from files and other programs safe to show.

A model file's name, a GGUF's architecture or a server's answer can contain anything: terminal sequences, characters
that reorder a line, Markdown, line ends that imitate layertune's output. JSON and exported files have their own quoting
and do not use this module.
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
# Characters that are special in Markdown anywhere in a line. An underscore within a word is not.
_MARKDOWN = re.compile(r"[\\`*|]|\[(?=[^\]]*\][(\[:])|(?<!\w)_|_(?!\w)|~(?=~)")


def printable(text: str) -> str:
    r"""Return the text with control characters and other invisible ones written as escapes, like `\x1b`.

    Line ends stay.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_visible(char) else _escaped(char) for char in text)


def one_line(text: str) -> str:
    r"""Return a printable text without line ends, which become `\n`."""
    return printable(text).replace("\n", r"\n")


def encodable(text: str, encoding: str) -> str:
    """Return the text with substitutes for characters that the encoding lacks."""
    return text.encode(encoding, SUBSTITUTE_ERRORS).decode(encoding)


def markdown_text(text: str) -> str:
    """Return Markdown that shows exactly this text in a paragraph, a list or a table cell."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text).replace("&", "&amp;").replace("<", "&lt;"))


def _is_visible(char: str) -> bool:
    return char == "\n" or char.isprintable() or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_SUBSTITUTES.get(char, "?") for char in missing), error.end


codecs.register_error(SUBSTITUTE_ERRORS, _substitute)
