"""What more trials could bring, and when that is too little to be told from noise."""

from collections.abc import Sequence
from dataclasses import dataclass

# A single calm outlook may be a lucky one, and the first proposals are made knowing little. On the tables of
# benchmarks/search_efficiency searches end with 98 to 99 % of a front of speeds (docs/searching.md).
_N_CALM = 5
_LEAST = 10


@dataclass(frozen=True, slots=True)
class Outlook:
    """As a trial was proposed, in shares of the hypervolume of the front so far: what it was expected to add, what all
    settings together would add at least, and what the hypervolume changes by where one point of the front is measured
    better by its own standard deviation.

    `of_speeds` says that the front is that of the objectives beside memory, which is sought first.
    """

    gain: float
    missing: float
    noise: float
    of_speeds: bool = False

    def calm(self) -> bool:
        """Say whether all that is left adds less than noise does. The best trial alone will not do: of a front of many
        points each adds little. While speeds are sought none is calm: lean settings are still to come."""
        return self.missing < self.noise and not self.of_speeds

    def __str__(self) -> str:
        front = "the front's hypervolume, memory left aside" if self.of_speeds else "the front's hypervolume"
        return (
            f"by the model the last trial was to add {self.gain:.1%} to {front}, and all settings "
            f"together at least {self.missing:.1%}"
        )


def why_stop(outlooks: Sequence[Outlook]) -> str | None:
    """Return why no further trial is worth its time, None while one may be; `outlooks` of all proposals in order."""
    last = outlooks[-_N_CALM:]
    if len(outlooks) < _LEAST or not all(each.calm() for each in last):
        return None
    return f"{last[-1]}; the noise of one measurement makes {last[-1].noise:.1%}"
