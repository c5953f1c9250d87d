"""The record of a verification, and the speeds compared in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from layertune.results.trial_info import MetricInfo, TrialInfo
from layertune.settings import EngineSettings
from layertune.verify.gauge import Drift
from layertune.verify.requests import Phase

How = Literal["alone", "together"]
State = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """The memory plan of the settings, compared with the budget.

    Attributes:
        fits: whether the planned memory fits; None if it is unknown.
        words: the result as a sentence.
        advice: settings that would fit, as a sentence.
        capacity_bytes: bytes of the device that all models together may take; None without a device.
        device_bytes: planned bytes of each model on the device; None if a part is unknown.
    """

    fits: bool | None
    words: str
    advice: str | None
    capacity_bytes: int | None
    device_bytes: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One item of the checklist with its evidence. `advice` is how to fix a failed one."""

    what: str
    state: State
    evidence: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class SpeedComparison:
    """One model's speed over HTTP and the study's speed of the same settings.

    `here` is the median of `rates`, the tokens/s of the single requests. `study` is None if no trial has these
    settings.
    """

    model: str
    how: How
    here: float
    rates: tuple[float, ...]
    study: MetricInfo | None


@dataclass(frozen=True, slots=True)
class Memory:
    """The device's memory after each start and at its peaks, in bytes above `before_bytes`.

    `before_bytes` is what other programs held. A value is None if the run did not get that far. `scope` is what was
    read, and `source` is the interface.
    """

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
    """What was verified, on which device, and with which server.

    `trial` is the number of the trial that measured these settings. `untaken` are the settings that this server has no
    option for.
    """

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
    """The load: `n_streams` requests at the same time to each model, for `duration_s`."""

    n_streams: int
    duration_s: float
    workload: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Verification:
    """The whole record. `started` is UTC and `phases` are in order.

    `meanwhile` has a sentence for each other program that used the processor during the comparison or the soak.
    """

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


def compare_speeds(alone: Mapping[str, Phase], together: Phase, trial: TrialInfo | None) -> list[SpeedComparison]:
    """Return the speed of each model alone and, with several models, of all together, next to those of the trial."""
    rows = [_compare(name, "alone", phase, trial, "tokens_per_s") for name, phase in alone.items()]
    if len(alone) > 1:
        rows += [_compare(name, "together", together, trial, "tokens_per_s_together") for name in alone]
    return [row for row in rows if row is not None]


def _compare(name: str, how: How, phase: Phase, trial: TrialInfo | None, quantity: str) -> SpeedComparison | None:
    stats = phase.stats(name)
    if stats.tokens_per_s is None:
        return None
    metrics = trial.metrics if trial is not None else None
    return SpeedComparison(
        model=name,
        how=how,
        here=stats.tokens_per_s,
        rates=tuple(phase.rates(name)),
        study=None if metrics is None else metrics[name].get(quantity),
    )
