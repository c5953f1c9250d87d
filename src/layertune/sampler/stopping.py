"""The stopping rule: a search ends when more trials are expected to add less than the noise of one measurement."""

from collections.abc import Sequence
from dataclasses import dataclass

# A single value below the noise may be chance, and the first proposals rest on few measurements. With these numbers,
# searches on the tables of benchmarks/search_efficiency end with 98 to 99 % of a front of speeds (docs/searching.md).
_N_CONVERGED = 5
LEAST_PROPOSALS = 10


@dataclass(frozen=True, slots=True)
class StoppingValue:
    """What the stopping rule compares. It is computed with each proposal, and stored with its trial.

    All but the last are shares of the hypervolume of the present front.

    Attributes:
        gain: what the proposed trial is expected to add.
        missing: what all untried settings together are expected to add, at least.
        noise: by how much the hypervolume changes if one point of the front is measured better by its own standard
            deviation.
        of_speeds: the front is that of the speeds only. The search looks for fast settings first, and for settings
            that need less memory after them.
    """

    gain: float
    missing: float
    noise: float
    of_speeds: bool = False

    def is_converged(self) -> bool:
        """Say whether all untried settings together are expected to add less than the noise.

        The gain of the best trial is not enough: on a front of many points each trial adds little. A search that still
        looks for fast settings is never converged, since settings with less memory are still to come.
        """
        return self.missing < self.noise and not self.of_speeds

    def __str__(self) -> str:
        front = "the front's hypervolume (speeds only)" if self.of_speeds else "the front's hypervolume"
        return f"more trials might still improve {front} by about {self.missing:.1%}"


def why_stop(values: Sequence[StoppingValue]) -> str | None:
    """Return why no further trial is worth its time; None if one may be.

    Args:
        values: of all proposals, in order.
    """
    last = values[-_N_CONVERGED:]
    if len(values) < LEAST_PROPOSALS or not all(each.is_converged() for each in last):
        return None
    return f"converged: {last[-1]}, less than the noise of one measurement ({last[-1].noise:.1%})"
