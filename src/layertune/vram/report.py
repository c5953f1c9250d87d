"""What a probe saw over one trial."""

from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["process", "device", "card"]
Source = Literal["nvml", "ggml", "ledger"]


@dataclass(frozen=True, slots=True)
class VramReport:
    """The device's memory over a trial, in bytes, above `baseline_bytes` (what was in use before it).

    `scope` is `process` (this process only), `device` (device minus baseline: other programs' changes count) or `card`
    (the emulated card's own ledger); `source` is nvml, ggml or ledger. `phases` holds the bytes in use after each phase.
    """

    peak_bytes: int
    baseline_bytes: int
    scope: Scope
    source: Source
    phases: dict[str, int] = field(default_factory=dict)
