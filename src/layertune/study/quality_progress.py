"""How far the measurement of quality is, as lines for people."""

import time
from collections.abc import Callable

from layertune.quality import Candidate
from layertune.units import format_duration


class QualityProgress:
    """Says what is scored whenever a pass begins, with the share that is done and the time that is left."""

    def __init__(self, notify: Callable[[str], None], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._notify = notify
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._n_begun = 0
        self._n_passes = 0
        self._last: Candidate | None = None

    def __call__(self, candidate: Candidate, n_tokens: int, n_left: int) -> None:
        """See `on_progress` of `measure_quality`. The pass for the floor, right after the reference, has no line."""
        if n_tokens > 0:
            return
        self._n_passes = max(self._n_passes, self._n_begun + n_left)
        if candidate != self._last:
            self._notify(f"  {candidate.path.name}, K/V {candidate.type_k}/{candidate.type_v}{self._left(n_left)}")
        self._n_begun += 1
        self._last = candidate

    def _left(self, n_left: int) -> str:
        """Return the share of the passes that is done, and how long the rest takes if they all take equally long."""
        if self._n_begun == 0:
            return ""
        left_s = (self._clock_s() - self._started_s) / self._n_begun * n_left
        return f" ({self._n_begun / self._n_passes:.0%} done, about {format_duration(left_s)} left)"
