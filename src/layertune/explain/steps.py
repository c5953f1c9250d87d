"""One step up or down of each setting of a model, as llama.cpp would run it.

A step of n_gpu_layers is one layer, as is one of n_cpu_moe or n_cpu_ffn. These two, n_threads_batch, the switches and
tensor_overrides have steps only if the study tried a value other than the default. A switch counts as 1 if it is on,
else as 0. Overrides count as 1 if there are any, and their only step is to have none. A step of another setting goes to
the next value that the study tried; beyond those values it is one thread, or double or half for contexts and batches.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from layertune.results.result import Result, TrialInfo
from layertune.settings import DEFAULTS, KEPT_ON_HOST, N_CTX_PADDING, SWITCHES, TENSOR_OVERRIDES, EngineSettings

STEPPED_SETTINGS = (
    "n_gpu_layers",
    *KEPT_ON_HOST,
    "n_ctx",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "n_threads_batch",
    *SWITCHES,
    TENSOR_OVERRIDES,
)
_ONLY_IF_TRIED = (*KEPT_ON_HOST, "n_threads_batch", *SWITCHES, TENSOR_OVERRIDES)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a setting (`knob`); `engine` has the model's settings after it, in canonical form."""

    model: str
    knob: str
    engine: EngineSettings

    @property
    def to(self) -> int:
        return value(self.engine, self.knob)


@dataclass(frozen=True, slots=True)
class NoStep:
    """A step that is not possible, and why."""

    model: str
    knob: str
    up: bool
    why: str


def canonical_engine(result: Result, trial: TrialInfo, model: str) -> EngineSettings:
    """Return the settings of one model of a trial in canonical form."""
    return result.canonical(model, trial.settings[model])


def value(engine: EngineSettings, knob: str) -> int:
    """Return a setting as a number."""
    if knob in SWITCHES:
        return int(getattr(engine, knob) == "on")
    if knob == TENSOR_OVERRIDES:
        return int(bool(engine.tensor_overrides))
    found: int = engine.prompt_threads if knob == "n_threads_batch" else getattr(engine, knob)
    return found


def written(knob: str, number: int) -> int | str:
    """Return a setting as users write it."""
    if knob == TENSOR_OVERRIDES:
        return ("none", "some")[number]
    return ("off", "on")[number] if knob in SWITCHES else number


def with_setting(engine: EngineSettings, knob: str, to: int, n_layer: int) -> EngineSettings:
    """Return the engine with one setting changed, in canonical form.

    A larger n_ubatch raises n_batch too, which it cannot exceed. Other limits follow llama.cpp's order of clamping.
    """
    n_batch = max(engine.n_batch, to) if knob == "n_ubatch" else engine.n_batch
    changes: dict[str, Any] = {"n_batch": n_batch, knob: () if knob == TENSOR_OVERRIDES else written(knob, to)}
    return replace(engine, **changes).canonical(n_layer)


def changed_settings(before: EngineSettings, after: EngineSettings) -> list[str]:
    """Return the names of the settings that differ. The threads of prompts do not if both follow n_threads."""
    return [
        knob
        for knob in STEPPED_SETTINGS
        if getattr(before, knob) != getattr(after, knob) and value(before, knob) != value(after, knob)
    ]


def linked_settings(before: EngineSettings, step: Step) -> list[str]:
    """Return the names of the settings that change together with a step, as n_batch does with n_ubatch."""
    return [knob for knob in changed_settings(before, step.engine) if knob != step.knob]


def steps(result: Result, model: str, engine: EngineSettings) -> Iterator[Step | NoStep]:
    """Yield a step down and a step up of every setting, or why there is none; `engine` is in canonical form."""
    n_layer = result.models[model].n_layer
    for knob in STEPPED_SETTINGS:
        if knob == "n_batch" and engine.pooling:
            continue  # it equals n_ubatch
        engines = [canonical_engine(result, trial, model) for trial in result.trials]
        if knob in _ONLY_IF_TRIED and all(getattr(each, knob) == DEFAULTS[knob] for each in engines):
            continue
        tried = {value(each, knob) for each in engines}
        for up in (False, True):
            to = _next(engine, knob, tried, n_layer, up=up)
            why = _RULES[knob](result, model, engine, to)
            changed = None if why else with_setting(engine, knob, to, n_layer)
            if changed is None or value(changed, knob) == value(engine, knob):
                yield NoStep(model, knob, up, why or "llama.cpp would clamp it to the present value")
            else:
                yield Step(model, knob, changed)


def _next(engine: EngineSettings, knob: str, tried: Collection[int], n_layer: int, *, up: bool) -> int:
    now = value(engine, knob)
    beyond = [each for each in tried if (each > now if up else each < now)]
    if knob == "n_gpu_layers":
        return now + 1 if up else now - 1
    if knob in KEPT_ON_HOST:
        n_host_layers = n_layer + 1 - engine.n_gpu_layers
        return max(now, n_host_layers) + 1 if up else now - 1
    if beyond:
        return min(beyond) if up else max(beyond)
    if knob in ("n_threads", "n_threads_batch", *SWITCHES, TENSOR_OVERRIDES):
        return now + 1 if up else now - 1
    return now * 2 if up else now // 2


def _layers(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    """Return why this number of layers is not possible; empty if it is, as in every rule here."""
    if result.hardware.device.kind == "cpu":
        return "there is no device to put layers on"
    if to < 0:
        return "no layer is on the device"
    if result.budget.devices is not None and engine.n_gpu_layers == 0:
        return "no layer is on a device yet, and which device would get the first one is not determined"
    n_most = result.models[model].n_layer + 1
    return f"all {n_most} layers are on the device" if to > n_most else ""


def _kept(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    if to < 0:
        return "all that is on the host is there with its layer"
    return "every layer is on the host, or keeps these tensors there" if to > result.models[model].n_layer else ""


def _context(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    if to < engine.n_ctx and engine.n_ctx <= N_CTX_PADDING * engine.n_caches:
        return f"the smallest context of llama.cpp is {N_CTX_PADDING} tokens per slot"
    return _slot(result, model, with_setting(engine, "n_ctx", to, result.models[model].n_layer))


def _slot(result: Result, model: str, changed: EngineSettings) -> str:
    workload = result.workload[model]
    n_needed = workload.n_prompt + workload.n_generate
    return f"the workload's {n_needed} tokens would not fit" if changed.n_ctx_slot < n_needed else ""


def _batch(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    n_prompt = result.workload[model].n_prompt
    if engine.pooling and to < n_prompt:
        return f"the workload's {n_prompt} tokens are computed in one physical batch"
    if to > engine.n_ctx:
        return f"a batch cannot exceed the context of {engine.n_ctx}"
    return "a batch has at least one token" if to < 1 else ""


def _threads(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    limits, n_cores = result.host_limits, result.hardware.cpu.n_cores
    n_cpus = n_cores if limits is None or limits.n_cpus is None else min(limits.n_cpus, n_cores)
    if to > max(n_cpus, engine.most_threads):
        return f"a model may use {n_cpus} cores" if n_cpus > 1 else "a model may use one core"
    return "at least one thread is needed" if to < 1 else ""


def _switch(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    return "" if to in (0, 1) else f"it is {written(SWITCHES[0], min(max(to, 0), 1))}"


def _unified(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    why = _switch(result, model, engine, to)
    return why or _slot(result, model, with_setting(engine, "kv_unified", to, result.models[model].n_layer))


def _overrides(result: Result, model: str, engine: EngineSettings, to: int) -> str:
    if to < 0:
        return "no tensor is overridden"
    return "" if to == 0 else "which other tensors would stay on the host is not determined"


_RULES: dict[str, Callable[[Result, str, EngineSettings, int], str]] = {
    "n_gpu_layers": _layers,
    **dict.fromkeys(KEPT_ON_HOST, _kept),
    "n_ctx": _context,
    "n_batch": _batch,
    "n_ubatch": _batch,
    "n_threads": _threads,
    "n_threads_batch": _threads,
    **dict.fromkeys(SWITCHES, _switch),
    "kv_unified": _unified,
    TENSOR_OVERRIDES: _overrides,
}
