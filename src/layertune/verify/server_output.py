"""What another program said, as a record may repeat it."""

import re

from layertune.redaction import HIDDEN, without_secrets

# Of an absolute path; not of a URL.
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")


def without_folders(words: str) -> str:
    """Return the words with every absolute path cut to its last part: a record goes elsewhere with its study, and where
    on this machine it was made is nobody's business there."""
    return _FOLDERS.sub("", words)


def as_recorded(words: str, api_key: str | None) -> str:
    """Return the words without absolute paths, without passwords and without the key that a server was given."""
    shown = words if api_key is None else words.replace(api_key, HIDDEN)
    return without_folders(without_secrets(shown))
