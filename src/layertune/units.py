"""Parses and formats sizes and durations.

`6GB` is 6·10⁹ bytes and `6GiB` is 6·2³⁰ bytes. They differ by 7 %, which is a layer or two on a small card.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import Any

KIB = 2**10
MIB = 2**20
GIB = 2**30

MAX_SIZE_BYTES = 2**50  # more than any device, machine or model file has
MAX_DURATION_S = 14 * 24 * 3600.0  # poll(2) waits at most 24 days

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


def quoted(value: Any) -> str:
    """Return a value as messages quote it, shortened if it is long."""
    if isinstance(value, int) and not -(10**40) < value < 10**40:
        return "a number of more than 40 digits"
    text = str(value) if isinstance(value, date | time) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def parse_bytes(written: Any) -> int:
    """Return a number of bytes from `"6GiB"`, `"6141MiB"`, `"6GB"`, `"6000000000"` or an integer.

    Raises:
        ValueError: this is not a size, or it is out of range; the message says what is accepted.
    """
    size_bytes = written if type(written) is int else _quantity(written, _BYTES_PER_UNIT)
    if size_bytes is None:
        raise ValueError(f"{quoted(written)} is not a size; write it like 6GiB, 6141MiB or 6GB")
    if not 0 <= size_bytes <= MAX_SIZE_BYTES:
        raise ValueError(f"{quoted(written)} is not a size from 0 to {MAX_SIZE_BYTES // GIB} GiB")
    if size_bytes < KIB and size_bytes != round(size_bytes):
        raise ValueError(f"{quoted(written)} is a fraction of a byte; write a unit, like 6GiB")
    return round(size_bytes)


def format_bytes(size_bytes: int) -> str:
    """Return a size in binary units: `"6141.0 MiB"`, `"23.50 GiB"`, `"12 B"`.

    Sizes up to 16 GiB are in MiB: on a small card the difference between 6141 and 6144 MiB can be a layer.
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
    """Return the sizes of one or several devices, joined with ` + `."""
    return " + ".join(map(format_bytes, sizes_bytes))


def pad(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `value`."""
    return -(-value // multiple) * multiple


def parse_duration(written: Any) -> float:
    """Return seconds from `"30m"`, `"90s"`, `"1.5h"` or a number of seconds.

    Raises:
        ValueError: this is not a duration, or it is out of range; the message says what is accepted.
    """
    seconds = written if type(written) in (int, float) else _quantity(written, _SECONDS_PER_UNIT)
    if seconds is None:
        raise ValueError(f"{quoted(written)} is not a duration; write it like 30m, 90s or 1.5h")
    if not 0 <= seconds <= MAX_DURATION_S:
        raise ValueError(f"{quoted(written)} is not a duration from 0 to {MAX_DURATION_S / 3600:.0f}h")
    return float(seconds)


def _quantity(written: Any, units: Mapping[str, float]) -> float | None:
    """Return a number in the base unit, infinity if it is too large; None if this is not a number with a unit."""
    match = _QUANTITY.fullmatch(written) if isinstance(written, str) else None
    if match is None or match["unit"].lower() not in units:
        return None
    return float(match["number"]) * units[match["unit"].lower()]


def format_duration(duration_s: float) -> str:
    """Return a duration: `"8.2 s"`, `"3m 05s"`, `"1h 02m"`."""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"
