"""Passwords and keys, taken out of what is printed or recorded."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"

# What stands in a URL without a doubt about where its parts begin: RFC 3986, section 2.3, and percent encodings.
_CHAR = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_SURE_URL = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    rf"(?:(?P<user>{_CHAR}*)(?P<password>:(?:{_CHAR}|:)*)?@)?"
    rf"(?P<place>(?:{_CHAR}*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?(?:/(?:{_CHAR}|[/:])*)?)"
    rf"(?P<query>\?[^#@\s]*)?"
)
# A scheme and a slash, up to the next space or quote; without the colon, only with what looks like a password.
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
    """Say whether it is certain which part of a URL is what, so that no piece of a password is taken for another."""
    return _SURE_URL.fullmatch(url) is not None


def without_password(url: str) -> str:
    """Return a URL, or what was meant as one, as it may be shown: without user, password and the values of its query;
    hidden as a whole where its parts cannot be told apart, as with an `@` in the password."""
    match = _SURE_URL.fullmatch(url)
    if match is None:
        return url if _PLAIN_WORD.fullmatch(url) else f"{HIDDEN} (hidden, as it may hold a password)"
    user, query = ("" if match["user"] is None else f"{HIDDEN}@"), (f"?{HIDDEN}" if match["query"] else "")
    return f"{match['scheme']}://{user}{match['place']}{query}"


def without_password_of(url: str, words: str) -> str:
    """Return what a driver or a server said of a URL; hidden where it may repeat a piece of the URL's password."""
    hidden = "its words are hidden, as they may repeat the password"
    return hidden if not is_clear(url) or any(each in words for each in _secrets(url)) else without_secrets(words)


def without_secrets(text: str) -> str:
    """Return a text without the passwords of the URLs in it, and without the values of names like `password=`."""
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
