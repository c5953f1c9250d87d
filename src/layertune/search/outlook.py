"""What more trials could bring, and when that is too little to be told from noise."""

from collections.abc import Sequence
from dataclasses import dataclass

# A single calm outlook may be a lucky one.
_N_CALM = 3

# Noise below this is noise that too few repetitions did not show; above, every study would end at once.
_NOISE_RANGE = (0.01, 0.03)


@dataclass(frozen=True, slots=True)
class Outlook:
    """As a trial was proposed: what it was expected to add to the hypervolume of the front so far, and what all
    settings together would add by the model, as shares of that hypervolume; `noise` is a measurement's, relative."""

    gain: float
    missing: float
    noise: float

    def calm(self) -> bool:
        """Say whether all that is left to gain is less than what a measurement's noise hides."""
        least, most = _NOISE_RANGE
        return self.missing < min(max(self.noise, least), most)

    def __str__(self) -> str:
        return f"by the model all other settings together add {self.missing:.1%} to the front's hypervolume"


def why_stop(outlooks: Sequence[Outlook]) -> str | None:
    """Return why no further trial is worth its time, None while one may be; `outlooks` of all proposals in order."""
    last = outlooks[-_N_CALM:]
    if len(last) < _N_CALM or not all(each.calm() for each in last):
        return None
    return f"{last[-1]}, less than a measurement's noise of {last[-1].noise:.1%}"
