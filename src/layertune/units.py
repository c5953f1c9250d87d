"""Sizes and durations as people write them, and back.

`6GB` is 6·10⁹ bytes and `6GiB` is 6·2³⁰ bytes: the two differ by 7 %, which on a small card is a layer or two.
"""

import re
from collections.abc import Iterable

KIB = 2**10
MIB = 2**20
GIB = 2**30

_BYTES_PER_UNIT = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
}
_SECONDS_PER_UNIT = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)\s*", re.ASCII)


def parse_bytes(text: str | int) -> int:
    """Return a number of bytes from `"6GiB"`, `"6141MiB"`, `"6GB"`, `"6000000000"` or an integer.

    Raises:
        ValueError: the text is not a size; the message says which forms are.
    """
    if isinstance(text, int):
        number, unit = float(text), ""
    else:
        match = _QUANTITY.fullmatch(text)
        if match is None or match["unit"].lower() not in _BYTES_PER_UNIT:
            raise ValueError(f"{text!r} is not a size; write it like 6GiB, 6141MiB or 6GB")
        number, unit = float(match["number"]), match["unit"].lower()
    size_bytes = round(number * _BYTES_PER_UNIT[unit])
    if size_bytes < 0:
        raise ValueError(f"{text!r} is negative; a size is zero or more bytes")
    return size_bytes


def format_bytes(size_bytes: int) -> str:
    """Return a size for people, in binary units: `"6141.0 MiB"`, `"23.50 GiB"`, `"12 B"`.

    Up to 16 GiB in MiB: on a small card the difference between 6141 and 6144 MiB can be a layer.
    """
    magnitude = abs(size_bytes)
    if magnitude >= 16 * GIB:
        return f"{size_bytes / GIB:.2f} GiB"
    if magnitude >= MIB:
        return f"{size_bytes / MIB:.1f} MiB"
    if magnitude >= KIB:
        return f"{size_bytes / KIB:.1f} KiB"
    return f"{size_bytes} B"


def join_bytes(sizes_bytes: Iterable[int]) -> str:
    """Return the sizes of one device or of several for people, joined as `--device` joins them."""
    return " + ".join(map(format_bytes, sizes_bytes))


def pad(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `value`."""
    return -(-value // multiple) * multiple


def parse_duration(text: str | float) -> float:
    """Return seconds from `"30m"`, `"90s"`, `"1.5h"` or a number of seconds.

    Raises:
        ValueError: the text is not a duration; the message says which forms are.
    """
    if isinstance(text, (int, float)):
        seconds = float(text)
    else:
        match = _QUANTITY.fullmatch(text)
        if match is None or match["unit"].lower() not in _SECONDS_PER_UNIT:
            raise ValueError(f"{text!r} is not a duration; write it like 30m, 90s or 1.5h")
        seconds = float(match["number"]) * _SECONDS_PER_UNIT[match["unit"].lower()]
    if seconds < 0:
        raise ValueError(f"{text!r} is negative; a duration is zero or more seconds")
    return seconds


def format_duration(duration_s: float) -> str:
    """Return a duration for people: `"8.2 s"`, `"3m 05s"`, `"1h 02m"`."""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"
