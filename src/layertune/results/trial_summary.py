"""From one finished trial to its part of result.json."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace

from layertune.memory import HOST, MemoryPlan, device_name
from layertune.memory.buffers import BufferBytes
from layertune.results.statistics import Metric
from layertune.results.trial_info import (
    BufferInfo,
    DeviceVramInfo,
    HostInfo,
    MeasuredIn,
    MetricInfo,
    PhaseInfo,
    SamplingInfo,
    TrialInfo,
    VramInfo,
)
from layertune.results.trials import FinishedTrial, RoundStage, Stage
from layertune.settings import SplitSettings
from layertune.trial.outcome import Infeasible, Measured, ModelSamples, TrialOutcome
from layertune.units import MIB, format_bytes
from layertune.vram.vram_report import VramReport

PlanFunction = Callable[[SplitSettings], MemoryPlan]

_QUANTITIES = (*(field.name for field in fields(ModelSamples)), "tpot_s")

_ROUND_STAGES: tuple[RoundStage, ...] = ("finals", "validation")
_ALL: tuple[Stage, ...] = ("search", *_ROUND_STAGES)

# The stages as result.json names them.
_PUBLIC: dict[Stage, MeasuredIn] = {"search": "search", "finals": "finals", "validation": "confirming"}

_RUNNING = frozenset({"prefill", "depth", "together", "beside prefill", "full context"})

# Beyond the resolution of llama.cpp's log and, on a GPU, the pages that its driver hands out.
_NOTICED_BYTES = 2 * MIB


def trial_info(trial: FinishedTrial, plan_of: PlanFunction | None, tied_with: int | None) -> TrialInfo:
    """Return one trial as result.json has it.

    Args:
        trial: The trial.
        plan_of: Plans the memory of settings; None without a planner.
        tied_with: The number of the trial that stands in for it, None where none does.
    """
    outcome = trial.outcome
    plan = None if plan_of is None else plan_of(trial.settings)
    info = TrialInfo(
        number=trial.number,
        state=outcome.state,
        reason=reason(outcome),
        settings=dict(trial.settings.items()),
        metrics=_metrics(trial, trial.reported_by) if isinstance(outcome, Measured) else None,
        vram=None,
        host=None,
        duration_s=outcome.duration_s,
        violations=dict(trial.violations),
        planned=None if plan is None else _planned_buffers(plan),
        checkpoint_bytes={} if plan is None else _checkpoints(plan),
        tied_with=tied_with,
        n_rounds=len(trial.rounds("finals")),
        n_confirming=len(trial.rounds("validation")),
    )
    if not isinstance(outcome, Measured):
        return info
    vram = _vram(trial, outcome, plan)
    first = {name: _samples_metrics(report.samples) for name, report in outcome.models.items()}
    return info.model_copy(
        update={
            "vram": vram,
            "host": HostInfo(peak_rss_bytes=outcome.peak_rss_bytes),
            "buffers": {name: _buffers(report.buffers) for name, report in outcome.models.items()},
            "warnings": [
                *remarks(outcome),
                *_round_remarks(trial, outcome),
                *_failed_rounds(trial),
                *_memory_verdicts(vram),
            ],
            "screening": first if trial.rounds("finals") or trial.rounds("validation") else None,
            "finals": _metrics(trial, "finals") if trial.rounds("finals") and trial.rounds("validation") else None,
            "flash_attn": {
                name: report.flash_attn for name, report in outcome.models.items() if report.flash_attn is not None
            },
            "load_s": {name: _info(_loads(trial, name)) for name in outcome.models},
        }
    )


def reason(outcome: TrialOutcome) -> str | None:
    """Return in words why nothing was measured; None where something was."""
    if isinstance(outcome, Measured):
        return None
    if isinstance(outcome, Infeasible):
        return f"{outcome.stage}{f' {outcome.model}' if outcome.model else ''}: {outcome.evidence}"
    return f"{outcome.reason}: {outcome.detail}"


def remarks(outcome: Measured) -> list[str]:
    """Return the warnings of a measurement, and what disturbed it or ended it early."""
    stopped = [f"ended early: {outcome.stopped}"] if outcome.stopped else []
    return [*outcome.warnings, *(f"disturbed: {why}" for why in outcome.disturbances), *stopped]


def _round_remarks(trial: FinishedTrial, first: Measured) -> list[str]:
    """Return the remarks of every round that the search's own measurement does not have."""
    return [
        f"{_PUBLIC[each.stage]}, round {each.number + 1}: {remark}"
        for stage in _ROUND_STAGES
        for each, outcome in trial.rounds(stage).items()
        for remark in remarks(outcome)
        if remark not in first.warnings
    ]


def _failed_rounds(trial: FinishedTrial) -> list[str]:
    """Return the rounds in which nothing was measured, in words. Validation runs are not numbered: after another choice
    they begin with 1 again."""
    failed = [(each, why) for each in trial.measurements[1:] if (why := reason(each.outcome)) is not None]
    return [
        f"{_PUBLIC[each.stage]}{f', round {each.round + 1}' if each.stage == 'finals' else ''}: {why}"
        for stage in _ROUND_STAGES
        for each, why in failed
        if each.stage == stage
    ]


def _memory_verdicts(vram: VramInfo | None) -> list[str]:
    """Return where memory grew after the load, and where it was not freed, in words."""
    if vram is None or "load" not in vram.split:
        return []
    beyond = {
        phase: split.unaccounted_bytes - vram.split["load"].unaccounted_bytes for phase, split in vram.split.items()
    }
    found = []
    grown_bytes = max((beyond_bytes for phase, beyond_bytes in beyond.items() if phase in _RUNNING), default=0)
    if grown_bytes > _NOTICED_BYTES:
        found.append(f"memory grew by {format_bytes(grown_bytes)} after the load")
    if beyond.get("unload", 0) > _NOTICED_BYTES:
        found.append(f"{format_bytes(beyond['unload'])} did not come back after the unload")
    return found


def _vram(trial: FinishedTrial, outcome: Measured, plan: MemoryPlan | None) -> VramInfo | None:
    report, peak_bytes = outcome.vram, trial.peak_bytes(_ALL)
    if report is None:
        return None
    held_bytes = sum(_on_device(each.buffers).total_bytes for each in outcome.models.values())
    return VramInfo(
        peak_bytes=peak_bytes,
        baseline_bytes=report.baseline_bytes,
        planned_bytes=None if plan is None else plan.device_bytes,
        unaccounted_bytes=peak_bytes - held_bytes,
        scope=report.scope,
        source=report.source,
        phases=dict(report.phases),
        split={phase: _phase(outcome, phase, used_bytes) for phase, used_bytes in report.phases.items()},
        foreign_bytes=report.foreign_bytes,
        sampling=None if report.sampling is None else SamplingInfo(**asdict(report.sampling)),
        devices=None if report.devices is None else _devices(trial, report.devices, plan),
    )


def _devices(trial: FinishedTrial, reports: Sequence[VramReport], plan: MemoryPlan | None) -> list[DeviceVramInfo]:
    peaks = trial.device_peaks(_ALL)
    return [
        DeviceVramInfo(
            peak_bytes=peaks[index],
            baseline_bytes=report.baseline_bytes,
            planned_bytes=None if plan is None else plan.bytes_on(device_name(index)),
        )
        for index, report in enumerate(reports)
    ]


def _phase(outcome: Measured, phase: str, used_bytes: int) -> PhaseInfo:
    """Split what was in use at the end of a phase by the sizes that llama.cpp logs for what was loaded then."""
    held = outcome.held.get(phase)
    buffers = {name: _on_device(report.buffers) for name, report in outcome.models.items()}
    weights_bytes = sum(buffers[name].weights_bytes for name in (held.weights if held else ()) if name in buffers)
    contexts = [buffers[name] for name in (held.contexts if held else ()) if name in buffers]
    kv_bytes = sum(each.kv_bytes for each in contexts)
    compute_bytes = sum(each.compute_bytes + each.output_bytes for each in contexts)
    return PhaseInfo(
        used_bytes=used_bytes,
        weights_bytes=weights_bytes,
        kv_bytes=kv_bytes,
        compute_bytes=compute_bytes,
        unaccounted_bytes=used_bytes - weights_bytes - kv_bytes - compute_bytes,
    )


def _on_device(buffers: Mapping[str, BufferBytes]) -> BufferBytes:
    return sum((held for device, held in buffers.items() if device != HOST), start=BufferBytes())


def _buffers(buffers: Mapping[str, BufferBytes]) -> dict[str, BufferInfo]:
    return {device: BufferInfo(**asdict(held)) for device, held in buffers.items()}


def _planned_buffers(plan: MemoryPlan) -> dict[str, dict[str, BufferInfo]] | None:
    """Return the plan in the form of the measured buffers, None if a part of it is missing."""
    found: dict[str, dict[str, BufferInfo]] = {}
    for name, model in plan.models.items():
        planned = {device: each.buffers() for device, each in model.devices.items()}
        known = {device: held for device, held in planned.items() if held is not None}
        if len(known) < len(planned):
            return None
        found[name] = _buffers(known)
    return found


def _checkpoints(plan: MemoryPlan) -> dict[str, int]:
    return {name: n for name, model in plan.models.items() if (n := model.checkpoint_bytes) is not None}


def _metrics(trial: FinishedTrial, stage: Stage) -> dict[str, dict[str, MetricInfo]]:
    return {
        name: {
            quantity: _info(metric)
            for quantity in _QUANTITIES
            if (metric := trial.metric(name, quantity, stage)) is not None
        }
        for name in trial.settings
    }


def _samples_metrics(samples: ModelSamples) -> dict[str, MetricInfo]:
    return {quantity: _info(Metric.of(values)) for quantity in _QUANTITIES if (values := getattr(samples, quantity))}


def _loads(trial: FinishedTrial, name: str) -> Metric:
    """Return the load times of every measurement, without an interval: measurements that share a load are not
    independent."""
    loads = Metric.of([each.models[name].load_s for each in trial.measured()])
    return replace(loads, low=None, high=None)


def _info(metric: Metric) -> MetricInfo:
    return MetricInfo.model_validate(asdict(metric))
