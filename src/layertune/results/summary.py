"""From finished trials to a `Result`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime

import layertune
from layertune.config.objective import Objective
from layertune.results.picks import candidates, choose
from layertune.results.result import (
    BudgetInfo,
    HardwareInfo,
    LlamaCpp,
    ModelInfo,
    ObjectiveInfo,
    Result,
    StudyInfo,
    WorkloadInfo,
)
from layertune.results.statistics import Metric
from layertune.results.trial_info import BufferInfo, HostInfo, MetricInfo, TrialInfo, VramInfo
from layertune.results.trials import FinishedTrial, front
from layertune.trial.outcome import Infeasible, Measured, ModelSamples, TrialOutcome


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a study's figures come from: everything in a result that is not its trials."""

    name: str
    created: datetime
    sampler: str
    seed: int
    llama_cpp: LlamaCpp
    hardware: HardwareInfo
    models: Mapping[str, ModelInfo]
    workload: Mapping[str, WorkloadInfo]
    budget: BudgetInfo
    objectives: Sequence[Objective]


def summarise(provenance: Provenance, trials: Sequence[FinishedTrial]) -> Result:
    """Return the whole study: all its trials, the front and the picks among it."""
    best = front(trials, provenance.objectives)
    return Result(
        study=StudyInfo(
            name=provenance.name,
            created=provenance.created.isoformat(timespec="seconds"),
            sampler=provenance.sampler,
            seed=provenance.seed,
            layertune_version=layertune.__version__,
            llama_cpp=provenance.llama_cpp,
        ),
        hardware=provenance.hardware,
        models=dict(provenance.models),
        workload=dict(provenance.workload),
        budget=provenance.budget,
        objectives=[ObjectiveInfo(name=each.name, direction=each.direction) for each in provenance.objectives],
        trials=[_trial(trial) for trial in trials],
        pareto=[trial.number for trial in best],
        picks=choose(candidates(best)),
    )


def reason(outcome: TrialOutcome) -> str | None:
    """Return why a trial has no figures, in words; None where it has."""
    if isinstance(outcome, Measured):
        return None
    if isinstance(outcome, Infeasible):
        return f"{outcome.stage}{f' {outcome.model}' if outcome.model else ''}: {outcome.evidence}"
    return f"{outcome.reason}: {outcome.detail}"


def _trial(trial: FinishedTrial) -> TrialInfo:
    outcome = trial.outcome
    measured = outcome if isinstance(outcome, Measured) else None
    return TrialInfo(
        number=trial.number,
        state=outcome.state,
        reason=reason(outcome),
        settings=dict(trial.settings.items()),
        metrics=None if measured is None else {name: _metrics(each.samples) for name, each in measured.models.items()},
        vram=None
        if measured is None or measured.vram is None
        else VramInfo(**asdict(measured.vram), planned_bytes=None),
        host=None if measured is None else HostInfo(peak_rss_bytes=measured.peak_rss_bytes),
        duration_s=outcome.duration_s,
        violations=dict(trial.violations),
        buffers=None
        if measured is None
        else {
            name: {device: BufferInfo(**asdict(held)) for device, held in each.buffers.items()}
            for name, each in measured.models.items()
        },
        warnings=[] if measured is None else list(measured.warnings),
    )


def _metrics(samples: ModelSamples) -> dict[str, MetricInfo]:
    return {
        field.name: MetricInfo.model_validate(asdict(Metric.of(getattr(samples, field.name))))
        for field in fields(samples)
    }
