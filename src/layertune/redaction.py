"""Removes passwords and keys from text that is printed or recorded."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"

# Characters that cannot be confused with the borders of a URL's parts: RFC 3986, section 2.3, and percent encodings.
_CHAR = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_SURE_URL = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    rf"(?:(?P<user>{_CHAR}*)(?P<password>:(?:{_CHAR}|:)*)?@)?"
    rf"(?P<place>(?:{_CHAR}*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?(?:/(?:{_CHAR}|[/:])*)?)"
    rf"(?P<query>\?[^#@\s]*)?"
)
# A scheme and a slash, up to the next space or quote. Without the colon, only if there seems to be a password.
_LIKE_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]+(?::/[^\s\"'<>|“”]*|//[^\s\"'<>|“”]*:[^\s\"'<>|“”]*@[^\s\"'<>|“”]*)")
_PLAIN_WORD = re.compile(r"[\w.-]*")
_SECRET_NAME = re.compile("pass|pwd|token|secret|key", re.IGNORECASE)
_MAY_HIDE = re.compile(r"@|:(?!/)(?!\d+(?:/|$))")
_END = ".,;:)]}"
_NAMED = re.compile(
    r"(?P<name>(?<![A-Za-z0-9])(?:\w*password|passwd|pwd|passfile|(?:access_|auth_)?token|(?:client_)?secret|api[_-]?key)"
    r"\s*=\s*|\bBearer\s+)(?:'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|[^\s&]+)",
    re.IGNORECASE,
)


def is_clear(url: str) -> bool:
    """Return whether the parts of a URL are unambiguous, so that no piece of a password is taken for another part."""
    return _SURE_URL.fullmatch(url) is not None


def without_password(url: str) -> str:
    """Return a URL without user, password and query, so that it can be shown.

    If its parts are ambiguous, as with an `@` in the password, all of it is hidden.
    """
    match = _SURE_URL.fullmatch(url)
    if match is None:
        return url if _PLAIN_WORD.fullmatch(url) else f"{HIDDEN} (hidden, because it may contain a password)"
    user, query = ("" if match["user"] is None else f"{HIDDEN}@"), (f"?{HIDDEN}" if match["query"] else "")
    return f"{match['scheme']}://{user}{match['place']}{query}"


def without_password_of(url: str, words: str) -> str:
    """Return a message about a URL; it is hidden if it may contain a piece of the URL's password."""
    hidden = "its message is hidden, because it may contain the password"
    return hidden if not is_clear(url) or any(each in words for each in _secrets(url)) else without_secrets(words)


def without_secrets(text: str) -> str:
    """Return the text without passwords in URLs and without the values of names like `password=`."""
    return _NAMED.sub(rf"\g<name>{HIDDEN}", _LIKE_URL.sub(_shown, text))


def _secrets(url: str) -> Iterator[str]:
    match = _SURE_URL.fullmatch(url)
    if match is None:
        return
    pairs = [each.partition("=") for each in (match["query"] or "").removeprefix("?").split("&")]
    values = [value for name, _, value in pairs if _SECRET_NAME.search(name)]
    for each in ((match["password"] or "").removeprefix(":"), *values):
        if each:
            yield from (each, unquote(each))


def _shown(match: re.Match[str]) -> str:
    word = match[0].rstrip(_END)
    if not (is_clear(word) or _MAY_HIDE.search(word)):
        return match[0]
    return without_password(word) + match[0][len(word) :]
