"""How to reach servers that run already: their addresses and their API key, as a user gives them."""

import os
from collections.abc import Sequence

from layertune.errors import UsageError
from layertune.redaction import is_clear, without_password

API_KEY = "LLAMA_API_KEY"  # llama-server's own


def urls_of(written: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the addresses of options like `NAME=URL`, by model.

    Raises:
        UsageError: one is no address of a model of the study, or a model has none.
    """
    urls = {}
    for option in written:
        name, equals, url = option.partition("=")
        like = "write it like " + ", ".join(f"--url {each}=http://127.0.0.1:8001" for each in names)
        if not equals or name not in names or not url.startswith(("http://", "https://")):
            shown = f"{name}{equals}{without_password(url)}" if equals else without_password(option)
            raise UsageError(f"--url {shown} is no NAME=URL of this study", remedy=like)
        if not is_clear(url) or "?" in url:
            raise UsageError(
                f"--url {name}={without_password(url)} is no address of a server",
                remedy=f"{like}, and an @, / or : of a password as %40, %2F or %3A",
            )
        if name in urls:
            raise UsageError(f"--url {name} is given twice", remedy="leave one of them out")
        urls[name] = url
    if urls and set(urls) != set(names):
        lacking = ", ".join(name for name in names if name not in urls)
        raise UsageError(f"there is no --url for {lacking}", remedy="give one for every model, or none")
    return urls


def api_key_of(variable: str | None) -> str | None:
    """Return the API key that this variable of the environment has, or LLAMA_API_KEY without one; None: no key.

    Raises:
        UsageError: the variable is not there, or no header can hold its value.
    """
    # Neither is repeated: somebody may give the key itself for the name.
    key = os.environ.get(variable or API_KEY, "").split(",")[0].strip()
    if variable is not None and not key:
        raise UsageError("--api-key-env names no variable of the environment", remedy=f"export it, or use {API_KEY}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError("the API key has a character that no key has", remedy="check the variable that holds it")
    return key or None
