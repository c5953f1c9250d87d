"""What a verification found, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from layertune.results.trial_info import MetricInfo
from layertune.settings import EngineSettings
from layertune.verify.gauge import Drift
from layertune.verify.requests import Phase

How = Literal["alone", "together"]
State = Literal["passed", "failed", "not walked"]


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """What the memory plan says of the settings: whether they fit (None: nobody knows), in words, and what would.

    `capacity_bytes` is what all models may take of the device, None without one; `device_bytes` what each takes by
    plan, None where a part is unknown.
    """

    fits: bool | None
    words: str
    advice: str | None
    capacity_bytes: int | None
    device_bytes: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One item of the checklist, with what it rests on; `advice` is what mends a failed one."""

    what: str
    state: State
    evidence: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class SpeedComparison:
    """One model's speed beside the study's of the same settings, `how` it ran: the median of the tokens/s of its
    requests (`Answered.tokens_per_s`), which are in `rates`. `study` is None where no trial has these settings."""

    model: str
    how: How
    here: float
    rates: tuple[float, ...]
    study: MetricInfo | None


@dataclass(frozen=True, slots=True)
class Memory:
    """The device's memory in bytes above `before_bytes`, which others held: after each model's start, and the peaks;
    None is what was not reached. `scope` and `source` say whose figures they are."""

    scope: str
    source: str
    before_bytes: int
    after_bytes: Mapping[str, int]
    load_peak_bytes: int | None
    soak_peak_bytes: int | None
    drift: Drift | None
    left_bytes: int | None


@dataclass(frozen=True, slots=True)
class Subject:
    """What was verified, on what, and with which server. `trial` is the number of the trial that measured these
    settings; `untaken` are the settings that this server cannot take."""

    study: str
    created: str
    trial: int | None
    settings: Mapping[str, EngineSettings]
    device: str
    emulated: bool
    server: str
    builds: Mapping[str, str]
    measured_build: str
    untaken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """How hard: `n_streams` requests at once to each model, and for how long."""

    n_streams: int
    duration_s: float
    workload: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Verification:
    """The whole record. `started` is UTC; `phases` are in their order; `meanwhile` says who else used the processor in
    the comparison and in the soak, a sentence each."""

    started: str
    layertune_version: str
    subject: Subject
    load: Load
    plan: PlanCheck
    checks: tuple[Check, ...]
    compared: tuple[SpeedComparison, ...]
    memory: Memory | None
    phases: tuple[Phase, ...]
    meanwhile: Mapping[str, Sequence[str]]

    @property
    def passed(self) -> bool:
        return all(check.state != "failed" for check in self.checks)

    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.state == "failed"]

    def phase(self, name: str) -> Phase | None:
        return next((phase for phase in self.phases if phase.name == name), None)
