"""How far a speed is from itself in another session: after another load, in another hour, on another day.

A study's own trials cannot show it: they are of one session. Only a setting that is measured again shows it.
"""

from collections.abc import Iterable
from math import log, sqrt

# Standard deviation of the logarithm. benchmarks/repeatability measured the picks and references of 16 searches again,
# minutes to hours later, on two machines with an emulated card and one with a GPU: 64 speeds, 4.6 % off (root mean
# square).
LEAST = 0.05


def session_spread(relative: Iterable[float]) -> float:
    """Return the spread of one speed from session to session; `relative` are a study's reference runs, each relative to
    the first one. Two or three of them, minutes apart, can show that a machine varies more, and not that it varies
    less."""
    squares = [log(each) ** 2 for each in relative if each > 0]
    return max(LEAST, sqrt(sum(squares) / len(squares))) if squares else LEAST
