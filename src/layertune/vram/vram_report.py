"""The report of a probe over one trial."""

from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["process", "device", "card"]
Source = Literal["nvml", "ggml", "ledger", "llama.cpp"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a polling probe sampled.

    Attributes:
        interval_s: The scheduled time between readings, in seconds.
        n_samples: Number of successful readings.
        n_missed: Number of readings missing in gaps of more than 1.5 intervals.
        cost_s: Median time of one reading, in seconds.
    """

    interval_s: float
    n_samples: int
    n_missed: int
    cost_s: float


@dataclass(frozen=True, slots=True)
class VramReport:
    """The memory that the models took on the device during a trial, above the use before the worker's first trial.

    Attributes:
        peak_bytes: Largest amount in use.
        baseline_bytes: In use by other programs before the worker's first trial.
        scope: `process` (this process only), `device` (the device above the baseline: other programs' changes count)
            or `card` (the emulated card's ledger above the baseline).
        source: Where the readings come from; `llama.cpp` are its own buffers, for a device that reports nothing.
        phases: Bytes in use after each phase; a phase without a successful reading is missing.
        foreign_bytes: Largest rise of other programs' use above their baseline; None in `device` scope, where it is not
            known. In `process` scope it is the device minus this process. So it includes memory for this process's
            context that the driver does not count as the process's.
        sampling: How a polling probe sampled; None for the ledger, which is exact.
        notes: A sentence for each value that could not be read, with the value used instead.
        devices: The report of each device, if there are several; the other values are then sums.
    """

    peak_bytes: int
    baseline_bytes: int
    scope: Scope
    source: Source
    phases: dict[str, int] = field(default_factory=dict)
    foreign_bytes: int | None = None
    sampling: Sampling | None = None
    notes: tuple[str, ...] = ()
    devices: tuple["VramReport", ...] | None = None

    @property
    def each(self) -> tuple["VramReport", ...]:
        """The report of each device; only this one if there is one device."""
        return self.devices or (self,)
