"""What another program said, as a record may repeat it."""

import re

# Of an absolute path; not of a URL.
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")


def without_folders(words: str) -> str:
    """Return the words with every absolute path cut to its last part: a record goes elsewhere with its study, and where
    on this machine it was made is nobody's business there."""
    return _FOLDERS.sub("", words)
