"""What a kind of mutated input is.

A kind is a module with a class that has the two methods of `Attack`. `kinds.KINDS` lists them; the command and the
short test take every one from there.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Protocol


class Attack(Protocol):
    """One kind of mutated input. It lives in a worker process and sees many cases."""

    def start(self, folder: Path) -> None:
        """Prepare what all cases share; `folder` is empty and belongs to this worker."""

    def case(self, random: Random) -> "Case":
        """Write one mutated input and return what is to be done with it. `random` alone decides what it is, so that a
        case can be run again by its seed and number."""


# Called once, within the limits of time and memory. It may return, or raise a LayertuneError; all else is a fault.
Case = Callable[[], object]
