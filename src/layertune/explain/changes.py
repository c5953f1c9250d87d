"""Changes of memory between two settings; both sides always come from the same source."""

from collections.abc import Mapping

from layertune.explain.line import Memory, MemorySource
from layertune.memory import HOST, EngineMemory, ModelPlan
from layertune.memory.plan import add
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import BufferInfo
from layertune.settings import EngineSettings

# Bytes on all devices, and on the host.
Totals = tuple[int, int]


def measured_memory(pick: TrialInfo, other: TrialInfo, model: str) -> Memory | None:
    """Return the difference of the buffers that llama.cpp reported in two trials; None if they were not recorded."""
    before, after = ((trial.buffers or {}).get(model) for trial in (pick, other))
    return None if before is None or after is None else _between(_held(before), _held(after), "measured")


def recorded_memory(result: Result, model: str, before: EngineSettings, after: EngineSettings) -> Memory | None:
    """Return the difference of two plans recorded in the result; None if one is missing."""
    plans = recorded_plans(result, model)
    n_layer = result.models[model].n_layer
    one, other = (plans.get(engine.memory_key(n_layer)) for engine in (before, after))
    return None if one is None or other is None else _between(_held(one), _held(other), "recorded plan")


def planned_memory(memory: EngineMemory, before: EngineSettings, after: EngineSettings) -> Memory | None:
    """Return the difference of two plans computed now; None if a part of one is unknown."""
    one, other = (_planned(memory.plan(engine)) for engine in (before, after))
    return None if one is None or other is None else _between(one, other, "plan")


def recorded_plans(result: Result, model: str) -> dict[EngineSettings, Mapping[str, BufferInfo]]:
    """Return the recorded plans of a model, by the settings that its memory depends on."""
    n_layer = result.models[model].n_layer
    return {
        trial.settings[model].memory_key(n_layer): trial.planned[model]
        for trial in result.trials
        if trial.planned is not None and model in trial.planned
    }


def _between(before: Totals, after: Totals, source: MemorySource) -> Memory:
    return Memory(after[0] - before[0], after[1] - before[1], source)


def _held(buffers: Mapping[str, BufferInfo]) -> Totals:
    on_host = sum(_total(held) for device, held in buffers.items() if device == HOST)
    return sum(map(_total, buffers.values())) - on_host, on_host


def _total(held: BufferInfo) -> int:
    return held.weights_bytes + held.kv_bytes + held.compute_bytes + held.output_bytes


def _planned(plan: ModelPlan) -> Totals | None:
    on_device = add(held.total_bytes for device, held in plan.devices.items() if device != HOST)
    on_host = plan.devices[HOST].total_bytes
    return None if on_device is None or on_host is None else (on_device, on_host)
