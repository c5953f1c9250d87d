"""How the time of a trial is divided."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Literal

Part = Literal["load", "warm_up", "measure", "unload"]


@dataclass(frozen=True, slots=True)
class TimeSpent:
    """Seconds of llama.cpp's work by purpose. All other time of a search is overhead."""

    load_s: float = 0.0
    warm_up_s: float = 0.0
    measure_s: float = 0.0
    unload_s: float = 0.0

    def __add__(self, other: "TimeSpent") -> "TimeSpent":
        return TimeSpent(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def total_s(self) -> float:
        """The sum of all parts, in seconds."""
        return self.load_s + self.warm_up_s + self.measure_s + self.unload_s


class Stopwatch:
    """Adds up the parts of one trial. A part that ends with an exception counts, too."""

    def __init__(self) -> None:
        self._spent_s: dict[Part, float] = {"load": 0.0, "warm_up": 0.0, "measure": 0.0, "unload": 0.0}

    @contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """Add the time of the body to a part."""
        started_s = perf_counter()
        try:
            yield
        finally:
            self._spent_s[name] += perf_counter() - started_s

    def read(self) -> TimeSpent:
        """Return the seconds so far."""
        return TimeSpent(**{f"{name}_s": spent_s for name, spent_s in self._spent_s.items()})
