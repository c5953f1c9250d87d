"""What a probe saw over one trial."""

from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["process", "device", "card"]
Source = Literal["nvml", "ggml", "ledger"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a polling probe sampled: its cost and its gaps are part of what it measured.

    Attributes:
        interval_s: The schedule, in seconds.
        n_samples: Readings that worked.
        n_missed: Readings that the gaps between those lack: a gap over 1.5 intervals counts the intervals it skipped.
        cost_s: The median time of one reading, in seconds.
    """

    interval_s: float
    n_samples: int
    n_missed: int
    cost_s: float


@dataclass(frozen=True, slots=True)
class VramReport:
    """What the models took of the device over a trial, in bytes above what was in use before the first one.

    Attributes:
        peak_bytes: The most that was in use.
        baseline_bytes: What others had in use before the worker's first trial.
        scope: `process` (this process only), `device` (the device above the baseline: other programs' changes count)
            or `card` (the emulated card's ledger above the baseline).
        source: Who told.
        phases: Bytes in use after each phase; a phase at which no reading worked is missing.
        foreign_bytes: The most by which other programs' use rose above theirs at the baseline, None where it cannot be
            told (`device`). In `process` scope it is the device minus this process, so whatever the driver takes for
            this process's context without counting it as the process's is in it too.
        sampling: None where nothing is sampled: the ledger is exact.
        notes: What could not be asked, and what is used instead, a sentence each.
        devices: Of several devices each one's own report, in their order; the figures above are then their sums.
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
        """The report of every device, one by one."""
        return self.devices or (self,)
