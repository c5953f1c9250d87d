"""What a probe saw over one trial."""

from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["process", "device", "card"]
Source = Literal["nvml", "ggml", "ledger"]


@dataclass(frozen=True, slots=True)
class VramReport:
    """What the models took of the device over a trial, in bytes; `baseline_bytes` were in use before it.

    `scope` is `process` (this process only), `device` (device minus baseline: other programs' changes count) or `card`
    (the emulated card's own ledger). `phases` holds the bytes in use after each phase.
    """

    peak_bytes: int
    baseline_bytes: int
    scope: Scope
    source: Source
    phases: dict[str, int] = field(default_factory=dict)
