"""How many repetitions one setting is measured with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from layertune.trial.interval import median_interval


@dataclass(frozen=True, slots=True)
class Effort:
    """Repeat a workload until the 95 % interval of its median speed is narrow enough.

    Attributes:
        min_repeats: Smallest number of repetitions.
        max_repeats: Largest number of repetitions.
        target_spread: Half the interval's width relative to the median, at which repeating stops.
        warm_up_s: Seconds of unmeasured workloads before the first repetition. A full physical batch of each model runs
            unmeasured in any case.
        repeat_together: Whether running all models at once is repeated. A single run shows the memory they take.
        together: Whether all models are run at once at all; without it the report has no such speeds.
        n_beside_prefill: How often each model is also timed while the others process a long prompt.
        max_s: After so many seconds of repetitions, two are enough, the fewest that show a spread; None for no limit.
        at_depth: The models that are also timed at half and at full context, with the longest that filling their
            context may take, in seconds; None for no limit. A model that takes longer is left out.
    """

    min_repeats: int
    max_repeats: int
    target_spread: float
    warm_up_s: float = 0.0
    repeat_together: bool = True
    together: bool = True
    n_beside_prefill: int = 0
    max_s: float | None = None
    at_depth: Mapping[str, float | None] = field(default_factory=dict, hash=False)

    def once(self) -> "Effort":
        """Return the smallest effort that still gives every speed."""
        return replace(self, min_repeats=1, max_repeats=1, n_beside_prefill=0)

    def enough(self, series: Iterable[Sequence[float]], elapsed_s: float = 0.0) -> bool:
        """Return whether no series of samples needs a further repetition.

        Args:
            series: For each model the speeds so far, in the order measured.
            elapsed_s: Seconds since the first repetition began.
        """
        time_is_up = self.max_s is not None and elapsed_s >= self.max_s
        n_least = min(2, self.min_repeats)
        return all(len(samples) >= n_least if time_is_up else self._enough(samples) for samples in series)

    def _enough(self, samples: Sequence[float]) -> bool:
        if not self.min_repeats <= len(samples) < self.max_repeats:
            return len(samples) >= self.max_repeats
        interval = median_interval(samples)
        return interval is not None and interval.spread <= self.target_spread


# One repetition: enough to find out whether a setting runs, and how much memory it takes.
ONCE = Effort(min_repeats=1, max_repeats=1, target_spread=1.0)
