"""Trials of a shared storage that nobody claims: their machine was killed between asking for a trial and naming itself.

Their age is counted by this process's own clock, from the moment when it first saw them. The times in the storage are
no help: each is the local time of the machine that wrote it, without a zone, and that machine's clock may be wrong.
"""

import time
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from layertune.search.recorder import OWNER

# A machine names itself once its sampler has proposed something, which takes seconds at most.
_UNCLAIMED_FOR_S = 300.0


class Unclaimed:
    def __init__(self) -> None:
        self._seen_s: dict[int, float] = {}

    def abandoned(self, running: Sequence[FrozenTrial]) -> list[int]:
        """Return the numbers of the running trials that this process has seen without an owner for five minutes."""
        now_s = time.monotonic()
        unclaimed = [each.number for each in running if OWNER not in each.user_attrs]
        self._seen_s = {number: self._seen_s.get(number, now_s) for number in unclaimed}
        return [number for number, seen_s in self._seen_s.items() if now_s - seen_s > _UNCLAIMED_FOR_S]
