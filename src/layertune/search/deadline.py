"""The time limit of a search: a third is kept for the finals, and half of that third for the validation runs."""

import time

_TRIALS_END, _FINALS_END = 2 / 3, 5 / 6


class Deadline:
    """A time limit that begins at its creation; without a timeout it is never over."""

    def __init__(self, timeout_s: float | None, *, with_finals: bool, with_validation: bool) -> None:
        self._started_s = time.monotonic()
        self._timeout_s = timeout_s
        self._trials_end = _TRIALS_END if with_finals else 1.0
        self._finals_end = _FINALS_END if with_validation else 1.0

    def trials_are_over(self) -> bool:
        return self._spent(self._trials_end)

    def finals_are_over(self) -> bool:
        return self._spent(self._finals_end)

    def is_over(self) -> bool:
        return self._spent(1.0)

    def _spent(self, share: float) -> bool:
        return self._timeout_s is not None and time.monotonic() >= self._started_s + share * self._timeout_s
