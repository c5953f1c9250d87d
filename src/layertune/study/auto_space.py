"""The space of a model that leaves it open (`space = "auto"`): what is worth searching, and why the rest is not.

It follows from the model's header, the device and the budget, so a resumed study opens the same space. What the config
writes itself is kept.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from statistics import median
from typing import Any

from layertune.config import IntRange, ModelConfig, StudyConfig, dimension_values
from layertune.config.model_config import DIMENSIONS
from layertune.errors import BuildError
from layertune.memory import ModelPlan, Planner
from layertune.models import ModelShape
from layertune.settings import (
    CACHE_TYPES,
    KEPT_ON_HOST,
    TENSOR_OVERRIDES,
    EngineSettings,
    Placement,
    SplitSettings,
    variant,
)  # fmt: skip
from layertune.study.balanced_splits import MOST_BALANCED, device_layer_bytes
from layertune.study.estimate import estimated_settings
from layertune.study.models_on_device import ModelsOnDevice
from layertune.units import format_bytes

# The first value of each is llama-server's default; the baselines have it.
_N_BATCH = 2048
_N_UBATCH = (512, 256, 128)
_CACHE_TYPES = ("f16/f16", "q8_0/q8_0", "q8_0/q4_0")
_N_STEPS = 8  # of n_cpu_ffn
# A cache is worth a dimension if it takes as much of the device as so many layers.
_WORTH_LAYERS = 2
# What may be planned on a GPU for all models to count as fitting whole: its overhead is known after the first trial.
_SURE_SHARE = 0.9
_MOST_ENGINES = 3000  # of one model: so many are planned and proposed from quickly
# How many of its first values each setting keeps where there are more engines, in this order.
_FEWER = (
    ("n_threads", 2), ("n_ubatch", 2), (CACHE_TYPES, 2), ("kv_offload", 1), ("n_threads", 1), (CACHE_TYPES, 1),
    ("n_ubatch", 1),
)  # fmt: skip
_PLACEMENTS = frozenset({"n_gpu_layers", *KEPT_ON_HOST})


@dataclass(frozen=True, slots=True)
class _Facts:
    """What decides about one model's dimensions.

    Attributes:
        n_layer: The most repeating layers of its files.
        has_experts, has_ffn: Whether it has experts, and feed-forward tensors that are none.
        layer_bytes: The weights of a typical layer.
        cache_bytes: What the f16 cache of the whole context takes of the devices; None if it is not known.
        small_cache_bytes: The same of a q8_0/q4_0 cache; None if llama.cpp does not accept it with flash attention.
        offloads: Whether there is a device.
        is_whole: Whether all models fit the budget whole, with their largest contexts and batches.
        shares_ram: Whether the device's memory is the RAM.
        quality_unknown: Why the quality of cache types is not measured; None if it is.
    """

    n_layer: int
    has_experts: bool
    has_ffn: bool
    layer_bytes: int
    cache_bytes: int | None
    small_cache_bytes: int | None
    offloads: bool
    is_whole: bool
    shares_ram: bool
    quality_unknown: str | None

    @property
    def why_placed(self) -> str | None:
        """Why it does not matter what is on the host; None if it does."""
        if not self.offloads:
            return "there is no device to offload to"
        if self.is_whole:
            return "all models fit the budget whole"
        return "the device's memory is the RAM" if self.shares_ram else None


@dataclass(frozen=True, slots=True)
class _Opened:
    """The value or values of one setting; `why` it is fixed, None if it is searched."""

    values: Any
    why: str | None = None


def with_auto_spaces(config: StudyConfig, models: ModelsOnDevice) -> tuple[StudyConfig, tuple[str, ...]]:
    """Return the config with every open space filled in, and a sentence for each of these models.

    Args:
        config: As the user wrote it, with all threads.
        models: The models and the device; llama.cpp is asked about two settings of each open one.
    """
    names = [name for name, model in config.models.items() if model.space.auto and _open_fields(model)]
    if not names:
        return config, ()
    facts, changed, words = _facts_of(config, models, names), dict(config.models), []
    n_devices = len(models.budgets_bytes(config))
    for name in names:
        model = config.models[name]
        of_fields = {key: each for key, each in _opened(model, facts[name]).items() if key in _open_fields(model)}
        space = model.space.model_copy(update={key: each.values for key, each in of_fields.items()})
        filled = _fewer(model.model_copy(update={"space": space}), of_fields, facts[name].n_layer, n_devices)
        changed[name] = filled
        words.append(f"{name}: {_words(filled, of_fields, facts[name].n_layer)}")
    return config.model_copy(update={"models": changed}), tuple(words)


def _open_fields(model: ModelConfig) -> set[str]:
    """Return the settings that the config leaves open."""
    written = set(model.space.model_fields_set)
    if written & {"type_k", "type_v"}:
        written.add(CACHE_TYPES)
    searched = {*_PLACEMENTS, "n_batch", "n_ubatch", "n_threads", CACHE_TYPES, "kv_offload"}
    return searched - written


def _opened(model: ModelConfig, facts: _Facts) -> dict[str, _Opened]:
    """Return every setting that may be searched by itself."""
    n_layer, why = facts.n_layer, facts.why_placed
    if facts.offloads and not facts.is_whole:
        layers = _Opened(IntRange())
    else:
        layers = _Opened("all" if facts.offloads else 0, why)
    steps = list(dict.fromkeys(round(n_layer * step / _N_STEPS) for step in range(_N_STEPS + 1)))
    no_ffn = "its experts are the larger part" if facts.has_experts else "it has no feed-forward tensors"
    threads, batch = dimension_values(model.space.n_threads), _batch(model)
    no_threads = why if facts.is_whole else "there are no more cores for it" if len(threads) == 1 else None
    return {
        "n_gpu_layers": layers,
        "n_cpu_moe": _kept(IntRange(min=0, max=n_layer), why, None if facts.has_experts else "it has no experts"),
        "n_cpu_ffn": _kept(steps, why, None if facts.has_ffn and not facts.has_experts else no_ffn),
        "n_batch": _Opened(batch, "only n_ubatch takes memory"),
        "n_ubatch": _Opened([n for n in _N_UBATCH if n <= max(dimension_values(batch))] or [_N_UBATCH[-1]]),
        "n_threads": _Opened(threads, None) if no_threads is None else _Opened(threads[0], no_threads),
        CACHE_TYPES: _cache_types(facts),
        "kv_offload": _kv_offload(facts),
    }


def _batch(model: ModelConfig) -> Any:
    return model.space.n_batch if "n_batch" in model.space.model_fields_set else _N_BATCH


def _kept(values: Any, why_placed: str | None, why_not: str | None) -> _Opened:
    """Return how many layers' tensors stay on the host."""
    why = why_not or why_placed
    return _Opened(values) if why is None else _Opened(0, why)


def _cache_types(facts: _Facts) -> _Opened:
    saved = None if facts.cache_bytes is None else facts.cache_bytes - (facts.small_cache_bytes or 0)
    why = (None if facts.shares_ram and not facts.is_whole else facts.why_placed) or facts.quality_unknown
    if why is None and facts.small_cache_bytes is None:
        why = "llama.cpp has no flash attention for smaller ones here"
    if why is None and (saved is None or saved < _WORTH_LAYERS * facts.layer_bytes):
        why = f"smaller ones would free {_less_than(saved)}{_WORTH_LAYERS} layers"
    return _Opened(list(_CACHE_TYPES)) if why is None else _Opened(None, why)


def _kv_offload(facts: _Facts) -> _Opened:
    why, cache_bytes = facts.why_placed, facts.cache_bytes
    if why is None and (cache_bytes is None or cache_bytes < _WORTH_LAYERS * facts.layer_bytes):
        why = f"its cache takes {_less_than(cache_bytes)}{_WORTH_LAYERS} layers"
    return _Opened(["on", "off"]) if why is None else _Opened("on", why)


def _less_than(n_bytes: int | None) -> str:
    return "an unknown part of " if n_bytes is None else f"{format_bytes(n_bytes)}, less than "


def _fewer(model: ModelConfig, opened: Mapping[str, _Opened], n_layer: int, n_devices: int) -> ModelConfig:
    """Return the model with fewer values of what is open, while it has too many engines to plan quickly."""
    for field, n_most in _FEWER:
        if _n_engines(model, n_layer, n_devices) <= _MOST_ENGINES:
            break
        if field in opened and opened[field].why is None:
            kept = dimension_values(getattr(model.space, field))[:n_most]
            model = model.model_copy(update={"space": model.space.model_copy(update={field: kept})})
    return model


def _n_engines(model: ModelConfig, n_layer: int, n_devices: int) -> int:
    """Return how many engines a space has; see `SearchSpace` for what is not combined."""
    written = {field: getattr(model.space, field) for field in DIMENSIONS}
    n = {field: 1 if each is None else len(dimension_values(each, n_layer + 1)) for field, each in written.items()}
    n_placements = n.pop("n_gpu_layers") + n.pop("n_cpu_moe") * n.pop("n_cpu_ffn") - 1
    n_caches = n.pop(CACHE_TYPES) * n.pop("type_k") * n.pop("type_v") + n.pop("kv_offload") - 1
    n_splits = n_devices + 1 + MOST_BALANCED if n_devices > 1 else 1
    return n_placements * n_caches * n_splits * len(model.paths) * prod(n.values())


def _words(model: ModelConfig, opened: Mapping[str, _Opened], n_layer: int) -> str:
    """Return what is searched, and what is not and why, as people read it."""
    searched, fixed = [], []
    for field in DIMENSIONS:
        written = getattr(model.space, field)
        values = [] if written is None else dimension_values(written, n_layer + 1)
        if len(values) > 1:
            searched.append(f"{field} {_range(written, values)}")
        elif field in opened:
            why = opened[field].why or "more would take too long to plan"
            value = written if isinstance(written, str) else values[0] if values else "f16"
            fixed.append((f"{field} {value}", why))
        elif field == "n_ctx":
            fixed.append((f"{field} {values[0]}", "a list would be searched"))
    by_why: dict[str, list[str]] = {}
    for what, why in fixed:
        by_why.setdefault(why, []).append(what)
    rest = ", ".join(f"{' and '.join(each)} ({why})" for why, each in by_why.items())
    return f"searched are {', '.join(searched) or 'no settings'}; fixed are {rest}"


def _range(written: Any, values: Sequence[Any]) -> str:
    if isinstance(written, IntRange):
        return f"{values[0]} to {values[-1]}"
    return f"{', '.join(map(str, values[:-1]))} or {values[-1]}"


def _facts_of(config: StudyConfig, models: ModelsOnDevice, names: Sequence[str]) -> dict[str, _Facts]:
    whole, budgets_bytes = _whole(config, models), models.budgets_bytes(config)
    small = {name: replace(whole[name], type_k="q8_0", type_v="q4_0") for name in names}
    planner = _planned(models, {name: [whole[name], *([small[name]] if name in small else [])] for name in whole})
    share = _SURE_SHARE if models.target.kind == "gpu" else 1.0
    fits = False
    if planner is not None and budgets_bytes:
        fits = planner.plan(whole).fits(*(round(share * each) for each in budgets_bytes)) is True
    found = {}
    for name in names:
        model, engine = config.models[name], whole[name]
        shape = models.shape(name, engine)
        plan, small_plan = (None, None) if planner is None else map(planner.models[name].plan, (engine, small[name]))
        found[name] = _Facts(
            n_layer=max(models.shapes[variant(name, file)].n_layer for file in model.paths),
            has_experts=_has(shape, "n_cpu_moe"),
            has_ffn=_has(shape, "n_cpu_ffn"),
            layer_bytes=round(median(device_layer_bytes(shape, Placement(shape.n_layer + 1))[:-1])),
            cache_bytes=None if plan is None else _cache_bytes(plan),
            small_cache_bytes=None
            if small_plan is None or small_plan.flash_attn is False or "off" in dimension_values(model.space.flash_attn)
            else _cache_bytes(small_plan),
            offloads=bool(budgets_bytes),
            is_whole=fits and not model.space.model_fields_set & {*_PLACEMENTS, TENSOR_OVERRIDES},
            shares_ram=any(device.shares_ram for device in models.target.devices),
            quality_unknown=None if config.quality.measure else "quality is not measured",
        )
    return found


def _whole(config: StudyConfig, models: ModelsOnDevice) -> SplitSettings:
    """Return all models whole on the devices: their largest files, contexts and batches."""
    found = {}
    for name, engine in estimated_settings(config, models).items():
        model = config.models[name]
        sizes = {file: models.shapes[variant(name, file)].file_bytes for file in model.paths}
        file = max(sizes, key=lambda each: sizes[each])
        found[name] = replace(
            engine,
            file=file,
            n_gpu_layers=models.shapes[variant(name, file)].n_layer + 1 if models.target.devices else 0,
            n_cpu_moe=0,
            n_cpu_ffn=0,
            n_ctx=max(dimension_values(model.space.n_ctx)),
            n_batch=_N_BATCH,
            n_ubatch=max(_N_UBATCH),
            kv_offload="on",
        )
    return SplitSettings.of(found)


def _planned(models: ModelsOnDevice, engines: Mapping[str, Sequence[EngineSettings]]) -> Planner | None:
    """Return a planner that knows these engines; None if llama.cpp cannot load a model."""
    try:
        models.learn(engines)
        return models.planner()
    except BuildError:
        return None


def _cache_bytes(plan: ModelPlan) -> int | None:
    """Return what the cache takes of the devices, or of the host without one; None if llama.cpp refuses the setting."""
    held = list(plan.on_devices)
    if any(each.kv_bytes is None or each.compute_bytes is None for each in held):
        return None
    return sum(each.kv_bytes or 0 for each in held)


def _has(shape: ModelShape, field: str) -> bool:
    pattern = re.compile(rf"blk\.\d+{KEPT_ON_HOST[field]}")
    return any(pattern.match(tensor.name) for tensor in shape.tensors)
