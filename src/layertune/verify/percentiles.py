"""Percentiles of latencies."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Percentiles:
    """In the unit of the samples."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Percentiles | None":
        """Return None without samples."""
        if not samples:
            return None
        in_order = sorted(samples)
        return cls(*(percentile(in_order, percent) for percent in (50, 95, 99)))


def percentile(in_order: Sequence[float], percent: int) -> float:
    """Return the smallest sample that `percent` of all samples do not exceed (nearest rank): one that was measured, so
    of fewer than a hundred samples the 99th is the largest."""
    return in_order[ceil(len(in_order) * percent / 100) - 1]
