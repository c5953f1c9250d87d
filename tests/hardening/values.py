"""Changes of decoded JSON or TOML: another value, a missing one, one too many, at a place that chance chooses."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any

INF, NAN = float("inf"), float("nan")
DIGITS = "@digits@"  # stands for a number of 5,000 digits, which Python writes no text of
NUMBERS: list[Any] = [
    *(0, 1, 2, -1, -2, 3, 255, 256, 257, 511, 512, 513, 10**6, 10**9, 10**18, 10**30, 10**400, 10**4000),
    *(sign * 2**power + step for sign in (1, -1) for power in (31, 32, 53, 63, 64) for step in (-1, 0, 1)),
    *(0.0, -0.0, 0.5, -0.5, 1e-320, 1e-12, 1e12, 1e15, 1e16, 1e300, 1.7e308, -1e300, INF, -INF, NAN),
    2**32 + 256,
]
TEXTS: list[Any] = [
    *("", " ", "0", "1e999", "nan", "auto", "all", "chat", "code", "balanced", "vram.peak_bytes", "f16", "a" * 300),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "a/b.gguf",
        "a\\b.gguf",
        "-x",
        "~",
        "~nobody/x",
        "$(id)",
        "${HOME}",
    ),
    *(
        "\x1b[2J",
        "[/x]",
        "[bold]",
        "a\nb",
        "a\0b",
        "가나",
        "\u202e",
        "'",
        '"',
        "`",
        "{}",
        "%s",
        "<script>",
        "|",
        "\x7f",
    ),
    *(
        "9" * 40 + "GiB",
        "6GiB",
        "-1GiB",
        "30m",
        "999999999999999 GiB",
        "emulated:1GiB",
        "gpu:99999999999",
        "3,1",
        "0,0",
    ),
]
OTHERS: list[Any] = [None, True, False, [], {}, [0], [None], [[]], {"x": 1}, [{}], ["x"], [1, 1]]
VALUES = [*NUMBERS, *TEXTS, *OTHERS]

Path = tuple[str | int, ...]


def changed(document: Any, random: Random, values: Sequence[Any] = VALUES, n_changes: int | None = None) -> Any:
    """Return a copy of the document with one change, seldom with two or three."""
    document = deepcopy(document)
    for _ in range(n_changes or random.choice((1, 1, 1, 1, 2, 3))):
        random.choice(_CHANGES)(document, random, values)
    return document


def places(document: Any, at: Path = ()) -> Iterator[Path]:
    """Give the path of every value within a document."""
    children = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in children:
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*at, key))


def _pick(document: Any, random: Random) -> tuple[Any, Any] | None:
    """Return a container and a key of it: of all keys of that name equally, so that the many trials are not all."""
    found = list(places(document))
    if not found:
        return None
    name = random.choice(sorted({tuple(key for key in path if isinstance(key, str)) for path in found}))
    path = random.choice([path for path in found if tuple(key for key in path if isinstance(key, str)) == name])
    for key in path[:-1]:
        document = document[key]
    return document, path[-1]


def _other(document: Any, random: Random, values: Sequence[Any]) -> None:
    if (place := _pick(document, random)) is not None:
        place[0][place[1]] = deepcopy(random.choice(values))


def _scaled(document: Any, random: Random, _values: Sequence[Any]) -> None:
    place = _pick(document, random)
    if place is None:
        return
    value = place[0][place[1]]
    if isinstance(value, (int, float)):
        changes = (
            value + 1,
            value - 1,
            -value,
            value * 2,
            value * 10,
            value * 1000,
            value / 7,
            float(value),
            str(value),
        )
        place[0][place[1]] = random.choice(changes)


def _removed(document: Any, random: Random, _values: Sequence[Any]) -> None:
    if (place := _pick(document, random)) is not None:
        del place[0][place[1]]


def _copied(document: Any, random: Random, _values: Sequence[Any]) -> None:
    """Put what stands at one place at another one too: a value of another kind, or of another trial."""
    source, target = _pick(document, random), _pick(document, random)
    if source is not None and target is not None:
        target[0][target[1]] = deepcopy(source[0][source[1]])


def _more(document: Any, random: Random, values: Sequence[Any]) -> None:
    place = _pick(document, random)
    if place is None:
        return
    at = place[0][place[1]]
    if isinstance(at, list):
        at.insert(random.randrange(len(at) + 1), deepcopy(random.choice([*at, random.choice(values)])))
    elif isinstance(at, dict):
        value = random.choice([*at.values(), random.choice(values)])
        at[random.choice(["", "x", "chat", "balanced", "host", "gpu0", "a" * 300, "[/x]", "\x1b[2J", "a.b"])] = (
            deepcopy(value)
        )


def _renamed(document: Any, random: Random, _values: Sequence[Any]) -> None:
    place = _pick(document, random)
    if place is not None and isinstance(place[0], dict):
        place[0][random.choice(["", "X", "x", "vram", "lean", "[/x]", "\x1b]0;x\x07"])] = place[0].pop(place[1])


_CHANGES = [*[_other] * 8, *[_scaled] * 3, _removed, *[_copied] * 2, _more, _renamed]
