"""Runs many cases of one kind in a worker process, and a new one after each that dies."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Fault:
    """A case that did not end as it should; `number` and the seed make it again."""

    number: int
    words: str


@dataclass(slots=True)
class Summary:
    """How the cases ended. The most that any took, of time and of memory, with the case's number."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    slowest_s: tuple[float, int] = (0.0, -1)
    largest_bytes: tuple[int, int] = (0, -1)
    last: int = -1

    def add(self, report: dict[str, object]) -> None:
        number, outcome, words = int(str(report["number"])), str(report["outcome"]), str(report["words"])
        self.last = number
        self.outcomes[outcome] += 1
        self.slowest_s = max(self.slowest_s, (float(str(report["seconds"])), number))
        self.largest_bytes = max(self.largest_bytes, (int(str(report["grown_bytes"])), number))
        if outcome == "fault":
            self.faults.append(Fault(number, words))

    @property
    def n_cases(self) -> int:
        return self.outcomes.total()


def run(
    kind: str, n_cases: int, seed: int, *, first: int = 0, progress: Callable[[Summary], None] | None = None
) -> Summary:
    """Run `n_cases` cases of a kind, from number `first` on."""
    summary = Summary()
    number, end = first, first + n_cases
    while number < end:
        for report in _worker(kind, seed, number, end):
            summary.add(report)
            number += 1
            if progress is not None:
                progress(summary)
        if number < end:  # the worker has not come to the end
            summary.add(
                {
                    "number": number,
                    "outcome": "fault",
                    "words": "the process died or hung",
                    "seconds": 0,
                    "grown_bytes": 0,
                }
            )
            number += 1
    return summary


def _worker(kind: str, seed: int, first: int, end: int) -> Iterator[dict[str, object]]:
    command = [sys.executable, "-m", "tests.hardening.worker", kind, str(seed), str(first), str(end)]
    # Waiting threads of a linear algebra library would count as a case's processor time.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=environment) as process:
        try:
            for line in process.stdout or ():
                yield json.loads(line)
        finally:
            process.kill()
