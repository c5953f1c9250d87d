"""From finished trials to a `Result`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

import layertune
from layertune.config.objective import Floor, Objective
from layertune.memory import Planner
from layertune.memory.correction import Correction
from layertune.results.choice import Choice
from layertune.results.drift import Reference, drifts
from layertune.results.price import compare_speeds, prices
from layertune.results.result import (
    BaselineInfo,
    BudgetInfo,
    ClockInfo,
    HardwareInfo,
    HostLimitsInfo,
    LlamaCpp,
    ModelInfo,
    ObjectiveInfo,
    PlanInfo,
    ReferenceInfo,
    Result,
    StudyInfo,
    WorkloadInfo,
)
from layertune.results.study_info import QualityInfo, variants
from layertune.results.trial_summary import PlanFunction, trial_info
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings


@dataclass(frozen=True, slots=True)
class Baseline:
    """A setting to beat. `settings` is None where its rule would not hold all models at once; `note` is the rule."""

    name: str
    settings: SplitSettings | None
    note: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything in a result that is not about its trials."""

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
    floors: Sequence[Floor] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    baselines: Sequence[Baseline] = ()
    host_limits: HostLimitsInfo | None = None
    files: Mapping[str, Mapping[str, ModelInfo]] = field(default_factory=dict)
    quality: Mapping[str, Sequence[QualityInfo]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """The memory plan: the planner, the capacity that it left, and what corrected it.

    `room_bytes` is None where no budget is kept."""

    planner: Planner
    n_settings: int
    n_feasible: int
    correction: Correction | None
    room_bytes: int | None = None


def summarise(
    provenance: Provenance,
    trials: Sequence[FinishedTrial],
    choice: Choice,
    planned: Planned | None = None,
    *,
    references: Sequence[Reference] = (),
    clock: ClockInfo | None = None,
    stopped: str | None = None,
) -> Result:
    """Return the whole study as result.json has it.

    Args:
        provenance: Everything that is not about the trials.
        trials: All finished trials.
        choice: The front and the picks among these trials.
        planned: The memory plan, None without one.
        references: The reference measurements in their order.
        clock: Where the seconds of the last run went.
        stopped: Why the trials ended, None where they were interrupted.
    """
    by_number = {trial.number: trial for trial in trials}
    pick = by_number[choice.picks["balanced"]] if choice.picks else None
    plan = planned.planner.plan if planned is not None else None
    n_layers = {key: model.n_layer for key, model in variants(provenance.models, provenance.files).items()}
    return Result(
        study=StudyInfo(
            name=provenance.name,
            created=provenance.created.isoformat(timespec="seconds"),
            sampler=provenance.sampler,
            seed=provenance.seed,
            layertune_version=layertune.__version__,
            llama_cpp=provenance.llama_cpp,
            generation="sampled",
        ),
        hardware=provenance.hardware,
        models=dict(provenance.models),
        files={name: dict(files) for name, files in provenance.files.items()},
        quality={name: list(each) for name, each in provenance.quality.items()},
        workload=dict(provenance.workload),
        budget=provenance.budget,
        host_limits=provenance.host_limits,
        objectives=[ObjectiveInfo(name=each.name, direction=each.direction) for each in provenance.objectives],
        plan=None if planned is None else _plan_info(planned),
        baselines={each.name: _baseline(each, trials, plan, n_layers, pick) for each in provenance.baselines},
        trials=[trial_info(trial, plan, choice.stand_ins.get(trial.number)) for trial in trials],
        floors=list(map(str, provenance.floors)),
        weights=dict(provenance.weights),
        stopped=stopped,
        decided=choice.decided,
        pareto=[trial.number for trial in choice.front],
        picks=dict(choice.picks),
        prices=prices(choice.picks, choice.reference_picks, by_number),
        references=_references(references),
        clock=clock,
    )


def _plan_info(planned: Planned) -> PlanInfo:
    correction = planned.correction or Correction(0, 0, 0)
    return PlanInfo(
        n_settings=planned.n_settings,
        n_feasible=planned.n_feasible,
        room_bytes=planned.room_bytes,
        **asdict(correction),
    )


def _baseline(
    baseline: Baseline,
    trials: Sequence[FinishedTrial],
    plan: PlanFunction | None,
    n_layers: Mapping[str, int],
    pick: FinishedTrial | None,
) -> BaselineInfo:
    if baseline.settings is None:
        return BaselineInfo(settings=None, trial=None, planned_bytes=None, note=baseline.note)
    settings = baseline.settings.canonical(n_layers)
    trial = next((trial for trial in trials if trial.settings == settings), None)
    return BaselineInfo(
        settings=dict(settings.items()),
        trial=None if trial is None else trial.number,
        planned_bytes=None if plan is None else plan(settings).device_bytes,
        note=baseline.note,
        balanced={} if pick is None or trial is None or pick.number == trial.number else compare_speeds(pick, trial),
    )


def _references(references: Sequence[Reference]) -> list[ReferenceInfo]:
    return [
        ReferenceInfo(
            n_trials=each.n_trials,
            tokens_per_s={name: each.metric(name).median for name in each.outcome.models},
            relative=relative,
        )
        for each, relative in zip(references, drifts(references), strict=True)
    ]
