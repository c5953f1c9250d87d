"""Removes secrets and local paths from other programs' output before it is recorded."""

import re

from layertune.redaction import HIDDEN, without_secrets

# The folders of an absolute path, but not of a URL.
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")


def without_folders(words: str) -> str:
    """Return the text with only the last part of every absolute path.

    A record is shared together with its study, so it must not contain the folders of this machine.
    """
    return _FOLDERS.sub("", words)


def as_recorded(words: str, api_key: str | None) -> str:
    """Return the text without absolute paths, passwords and the server's API key."""
    shown = words if api_key is None else words.replace(api_key, HIDDEN)
    return without_folders(without_secrets(shown))
