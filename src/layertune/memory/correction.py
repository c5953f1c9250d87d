"""Corrections of memory plans, learned from measured trials: how far off the plan was, and how memory grew later."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from layertune.memory.plan import Overhead


@dataclass(frozen=True, slots=True)
class Residual:
    """One measured trial: planned buffers, memory in use after all models were loaded, and peak memory."""

    planned_bytes: int
    loaded_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Correction:
    """Memory on a device beyond the plan, learned from `n_trials` of the same study.

    `overhead_bytes` is the median of the memory in use after the load minus the planned buffers. `headroom_bytes` is
    the largest difference between a trial's peak and plan plus overhead. It covers later growth and the scatter of the
    overhead, and is the safety margin that the measurements show to be needed.
    """

    overhead_bytes: int
    headroom_bytes: int
    n_trials: int

    @classmethod
    def learn(cls, residuals: Sequence[Residual]) -> "Correction | None":
        """Return the correction from these trials, None without any."""
        if not residuals:
            return None
        overhead_bytes = round(median(each.loaded_bytes - each.planned_bytes for each in residuals))
        most_bytes = max(each.peak_bytes - each.planned_bytes for each in residuals)
        return cls(max(overhead_bytes, 0), max(most_bytes - max(overhead_bytes, 0), 0), len(residuals))

    @classmethod
    def worst(cls, of_devices: "Sequence[Correction | None]") -> "Correction | None":
        """Return the largest values of several devices, which are safe for each of them; None if nothing was
        measured."""
        known = [each for each in of_devices if each is not None]
        if not known:
            return None
        return cls(
            max(each.overhead_bytes for each in known),
            max(each.headroom_bytes for each in known),
            max(each.n_trials for each in known),
        )

    def overhead(self) -> Overhead:
        return Overhead(self.overhead_bytes, f"the median of {self.n_trials} measured trials")
