"""How long to measure one setting."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from layertune.trial.interval import median_interval


@dataclass(frozen=True, slots=True)
class Effort:
    """Repeat a workload until the 95 % interval of its median rate is within ± `target_spread` of it, relative.

    `min_repeats` and `max_repeats` bound the repetitions; after `max_s` seconds of them the least are enough.
    Before them a full physical batch of each model runs unmeasured, then the workloads until `warm_up_s` have
    passed. Without `repeat_together` all models run at once a single time, which is enough to see what they take;
    without `together` they never do, and nothing is told of it. `n_beside_prefill` is how often each model is also
    clocked while the others are in a long prompt.
    """

    min_repeats: int
    max_repeats: int
    target_spread: float
    warm_up_s: float = 0.0
    repeat_together: bool = True
    together: bool = True
    n_beside_prefill: int = 0
    max_s: float | None = None

    def once(self) -> "Effort":
        """Return the least effort that still gives every figure."""
        return replace(self, min_repeats=1, max_repeats=1, n_beside_prefill=0)

    def enough(self, series: Iterable[Sequence[float]], elapsed_s: float = 0.0) -> bool:
        """Say whether every series of samples, in the order measured over `elapsed_s`, needs no further one."""
        time_is_up = self.max_s is not None and elapsed_s >= self.max_s
        return all(len(samples) >= self.min_repeats if time_is_up else self._enough(samples) for samples in series)

    def _enough(self, samples: Sequence[float]) -> bool:
        if not self.min_repeats <= len(samples) < self.max_repeats:
            return len(samples) >= self.max_repeats
        interval = median_interval(samples)
        return interval is not None and interval.spread <= self.target_spread


# Enough to see whether a setting runs and what it takes.
ONCE = Effort(min_repeats=1, max_repeats=1, target_spread=1.0)
