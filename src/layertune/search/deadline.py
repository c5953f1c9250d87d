"""The time limit of a study, of which a part is kept for the finals."""

import time

_TRIALS_SHARE = 2 / 3


class Deadline:
    """Runs from its creation. Without a timeout it is never over."""

    def __init__(self, timeout_s: float | None, with_finals: bool) -> None:
        started_s = time.monotonic()
        share = _TRIALS_SHARE if with_finals else 1.0
        self._end_s = None if timeout_s is None else started_s + timeout_s
        self._trials_end_s = None if timeout_s is None else started_s + share * timeout_s

    def trials_are_over(self) -> bool:
        return self._trials_end_s is not None and time.monotonic() >= self._trials_end_s

    def is_over(self) -> bool:
        return self._end_s is not None and time.monotonic() >= self._end_s
