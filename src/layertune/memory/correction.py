"""What measured trials say of the plan: how far off it was, and how much memory grew after the load."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from layertune.memory.plan import Overhead


@dataclass(frozen=True, slots=True)
class Residual:
    """One measured trial: its planned buffers, what the device held once all models were loaded, and its peak."""

    planned_bytes: int
    loaded_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Correction:
    """What a device takes beyond the plan, learned from `n_trials` of the same study.

    `overhead_bytes` is the median of what was there after the load beyond the buffers; `headroom_bytes` is the most
    that any trial's peak was beyond plan and overhead: what memory grew later, and how much the overhead scatters. It
    is the safety margin that these measurements call for.
    """

    overhead_bytes: int
    headroom_bytes: int
    n_trials: int

    @classmethod
    def learn(cls, residuals: Sequence[Residual]) -> "Correction | None":
        """Return None where nothing was measured."""
        if not residuals:
            return None
        overhead_bytes = round(median(each.loaded_bytes - each.planned_bytes for each in residuals))
        most_bytes = max(each.peak_bytes - each.planned_bytes for each in residuals)
        return cls(max(overhead_bytes, 0), max(most_bytes - max(overhead_bytes, 0), 0), len(residuals))

    @classmethod
    def worst(cls, of_devices: "Sequence[Correction | None]") -> "Correction | None":
        """Return the most of what several devices take, for any of them; None where nothing was measured."""
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
