"""The texts that models are compared on.

The shipped ones were written for layertune. Texts that are public or famous would flatter a file: importance matrices
are made with the former, and models have memorized the latter.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from layertune.errors import ConfigError
from layertune.regular_files import read_text
from layertune.units import MIB

KINDS = ("english", "korean", "code")
_MOST_BYTES = MIB
LEAST_TOKENS = 512  # one piece: a text is cut into contexts of this length


@dataclass(frozen=True, slots=True)
class Text:
    """One text; `weight` is its share in the averages over all texts, relative to the others."""

    kind: str
    content: str
    weight: float = 1.0

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()


def shipped_texts(weights: dict[str, float] | None = None) -> tuple[Text, ...]:
    """Return layertune's own texts: `english`, `korean` and `code`, each of about 10 kB.

    Args:
        weights: The weight of each kind; kinds that are not in it are left out. By default all weigh the same.
    """
    folder = resources.files("layertune.quality") / "texts"
    chosen = dict.fromkeys(KINDS, 1.0) if weights is None else weights
    return tuple(
        Text(kind, (folder / f"{kind}.txt").read_text(encoding="utf-8"), chosen[kind])
        for kind in KINDS
        if kind in chosen
    )


def own_text(path: Path, weight: float = 1.0) -> Text:
    """Return a user's text; its kind is the file's name.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8, is larger than 1 MiB, or has too few bytes for the tokens
            that are needed.
    """
    try:
        text = Text(path.name, read_text(path, _MOST_BYTES), weight)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", remedy="give a text file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", remedy="give a text file") from error
    n_bytes = len(text.content.encode())
    if n_bytes < LEAST_TOKENS:
        raise too_short(text.kind, f"{n_bytes} bytes")
    return text


def too_short(kind: str, has: str) -> ConfigError:
    """Return the error of a text that gives no whole piece; `has` says how much it has."""
    return ConfigError(
        f"the text {kind} has {has}, and quality needs at least {LEAST_TOKENS} tokens",
        remedy="give a longer text as quality.text, or leave it out to use layertune's",
    )
