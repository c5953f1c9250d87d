"""From finished trials to a `Result`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime

import layertune
from layertune.config.objective import Objective
from layertune.memory import HOST, MemoryPlan, Planner
from layertune.memory.residuals import Correction
from layertune.results.picks import candidates, choose
from layertune.results.result import (
    BaselineInfo,
    BudgetInfo,
    HardwareInfo,
    LlamaCpp,
    ModelInfo,
    ObjectiveInfo,
    PlanInfo,
    Result,
    StudyInfo,
    WorkloadInfo,
)
from layertune.results.statistics import Metric
from layertune.results.trial_info import BufferInfo, HostInfo, MetricInfo, TrialInfo, VramInfo
from layertune.results.trials import FinishedTrial, front
from layertune.settings import SplitSettings
from layertune.trial.outcome import Infeasible, Measured, ModelSamples, TrialOutcome

PlanFunction = Callable[[SplitSettings], MemoryPlan]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A setting to beat. `settings` is None where its rule would not hold all models at once; `note` is the rule."""

    name: str
    settings: SplitSettings | None
    note: str


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
    baselines: Sequence[Baseline] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """What was known of memory before the trials: the planner, the room that it left, and what corrected it."""

    planner: Planner
    n_settings: int
    n_feasible: int
    correction: Correction | None


def summarise(provenance: Provenance, trials: Sequence[FinishedTrial], planned: Planned | None = None) -> Result:
    """Return the whole study: all its trials, the front and the picks among it. `planned` is None without a plan."""
    best = front(trials, provenance.objectives)
    plan = planned.planner.plan if planned is not None else None
    n_layers = {name: model.n_layer for name, model in provenance.models.items()}
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
        plan=None if planned is None else _plan_info(planned),
        baselines={each.name: _baseline(each, trials, plan, n_layers) for each in provenance.baselines},
        trials=[_trial(trial, plan) for trial in trials],
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


def _plan_info(planned: Planned) -> PlanInfo:
    correction = planned.correction or Correction(0, 0, 0)
    return PlanInfo(n_settings=planned.n_settings, n_feasible=planned.n_feasible, **asdict(correction))


def _baseline(
    baseline: Baseline, trials: Sequence[FinishedTrial], plan: PlanFunction | None, n_layers: Mapping[str, int]
) -> BaselineInfo:
    if baseline.settings is None:
        return BaselineInfo(settings=None, trial=None, planned_bytes=None, note=baseline.note)
    settings = baseline.settings.canonical(n_layers)
    return BaselineInfo(
        settings=dict(settings.items()),
        trial=next((trial.number for trial in trials if trial.settings == settings), None),
        planned_bytes=None if plan is None else plan(settings).device_bytes,
        note=baseline.note,
    )


def _vram(outcome: Measured, planned_bytes: int | None) -> VramInfo | None:
    if outcome.vram is None:
        return None
    held_bytes = sum(
        held.total_bytes
        for report in outcome.models.values()
        for device, held in report.buffers.items()
        if device != HOST
    )
    unaccounted_bytes = outcome.vram.peak_bytes - held_bytes
    return VramInfo(**asdict(outcome.vram), planned_bytes=planned_bytes, unaccounted_bytes=unaccounted_bytes)


def _planned_buffers(plan: MemoryPlan) -> dict[str, dict[str, BufferInfo]] | None:
    """Return the plan in the form of the measured buffers, None if a part of it is missing."""
    found: dict[str, dict[str, BufferInfo]] = {}
    for name, model in plan.models.items():
        found[name] = {}
        for device, planned in model.devices.items():
            held = planned.buffers()
            if held is None:
                return None
            found[name][device] = BufferInfo(**asdict(held))
    return found


def _trial(trial: FinishedTrial, plan_of: PlanFunction | None) -> TrialInfo:
    outcome = trial.outcome
    measured = outcome if isinstance(outcome, Measured) else None
    plan = None if plan_of is None else plan_of(trial.settings)
    return TrialInfo(
        number=trial.number,
        state=outcome.state,
        reason=reason(outcome),
        settings=dict(trial.settings.items()),
        metrics=None if measured is None else {name: _metrics(each.samples) for name, each in measured.models.items()},
        vram=None if measured is None else _vram(measured, None if plan is None else plan.device_bytes),
        host=None if measured is None else HostInfo(peak_rss_bytes=measured.peak_rss_bytes),
        duration_s=outcome.duration_s,
        violations=dict(trial.violations),
        buffers=None
        if measured is None
        else {
            name: {device: BufferInfo(**asdict(held)) for device, held in each.buffers.items()}
            for name, each in measured.models.items()
        },
        planned=None if plan is None else _planned_buffers(plan),
        warnings=[] if measured is None else list(measured.warnings),
    )


def _metrics(samples: ModelSamples) -> dict[str, MetricInfo]:
    return {
        field.name: MetricInfo.model_validate(asdict(Metric.of(getattr(samples, field.name))))
        for field in fields(samples)
    }
