"""Reads a `.env` file that layertune wrote and that people may have edited.

A POSIX shell and docker compose must read the same values from it. Anything that one of them would expand, split or
unescape is refused. A comment may follow a value.
"""

import re
from pathlib import Path

from layertune.errors import ConfigError
from layertune.regular_files import CONFIG_BYTES, read_text

_LINE = re.compile(r"(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)
_COMMENT = r"[ \t]*(?:[ \t]#.*)?"
_FORMS = (
    # Backslashes and `${` are special to compose even between single quotes (export/env.py).
    re.compile(rf"'(?P<value>(?:(?!\$\{{)[^'\\])*)'{_COMMENT}", re.DOTALL),
    re.compile(rf'"(?P<value>[^"\\$`]*)"{_COMMENT}', re.DOTALL),
    re.compile(rf"(?P<value>(?!#)[^\s'\"\\$`~;&|<>()]*){_COMMENT}", re.DOTALL),
)


def load_env(path: Path) -> dict[str, str]:
    """Return the file's variables.

    Raises:
        ConfigError: it cannot be read, or a shell and docker compose would read a line differently.
    """
    try:
        text = read_text(path, CONFIG_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", remedy="give the path of a .env file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", remedy="give the path of a .env file") from error
    return parse_env(text, str(path))


def parse_env(text: str, source: str) -> dict[str, str]:
    """Return the variables of a text from `source`. If one is set twice, the last value counts, as in both readers.

    Raises:
        ConfigError: naming the first line that cannot be read.
    """
    variables = {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{source}, line {number} is not NAME=value", remedy="fix that line")
        value = _value(match["value"])
        if value is None:
            raise ConfigError(
                f"{source}, line {number}: a shell and docker compose may read {match['key']} differently",
                remedy="write its value between single quotes",
            )
        variables[match["key"]] = value
    return variables


def _value(written: str) -> str | None:
    match = next((found for form in _FORMS if (found := form.fullmatch(written))), None)
    return None if match is None else match["value"]
