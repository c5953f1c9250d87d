"""layertune estimate: what a setting takes, per model and device, before anything is loaded."""

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import typer

from layertune.cli.overrides import Overrides, study_config
from layertune.cli.planning import Planning, plan_study
from layertune.config import IntRange, StudyConfig
from layertune.devices.hardware import n_usable_cores
from layertune.memory import GPU, HOST, MemoryPlan, ModelMemory, ModelPlan, Planner
from layertune.memory.projection import Anatomy
from layertune.settings import EngineSettings, SplitSettings

_N_AROUND = 4  # splits
_FIELDS = ("n_ctx", "n_batch", "n_ubatch", "flash_attn", "type_k", "type_v", "n_cpu_moe")


def run(config_path: Path | None, overrides: Overrides, *, as_json: bool) -> None:
    config = study_config(config_path, overrides)
    planning = plan_study(config)
    settings, budget_bytes = estimated_settings(config, planning), planning.budget_bytes(config)
    most: dict[str, int | None] = dict.fromkeys(settings)
    around = {} if budget_bytes is None else _around(planning, settings, budget_bytes)
    planning.projections.learn(
        {name: [engine, *splits(settings, name, around.get(name, ()))] for name, engine in settings.items()}
    )
    planner = planning.planner()
    plan = planner.plan(settings)
    if budget_bytes is not None:
        most = {name: _most_layers(planning, planner, settings, name, budget_bytes, around[name]) for name in settings}
    if as_json:
        typer.echo(json.dumps(_json(settings, plan, budget_bytes, most), indent=1))
    else:
        from layertune.cli.estimate_table import print_estimate  # the JSON needs no rich

        print_estimate(planning, settings, plan, budget_bytes, most)


def estimated_settings(config: StudyConfig, planning: Planning) -> SplitSettings:
    """Of a dimension with several values the first counts, of n_gpu_layers the most: does all of it fit?"""
    offloads = planning.target.kind != "cpu"
    n_threads = min(config.host.n_cpus or n_usable_cores(), n_usable_cores())
    engines = {}
    for name, model in config.models.items():
        n_all = planning.shapes[name].n_layer + 1
        chosen = {field: _first(getattr(model.space, field), n_all) for field in _FIELDS}
        layers = max(_values(model.space.n_gpu_layers, n_all)) if offloads else 0
        engine = EngineSettings(n_gpu_layers=layers, n_threads=n_threads, n_parallel=model.n_parallel, **chosen)
        engines[name] = engine.canonical(planning.shapes[name].n_layer)
    return SplitSettings.of(engines)


def _values(written: Any, n_all: int) -> list[Any]:
    if isinstance(written, IntRange):
        return written.values(n_all)
    return written if isinstance(written, list) else [written]


def _first(written: Any, n_all: int) -> Any:
    return _values(written, n_all)[0]


def splits(settings: SplitSettings, name: str, n_gpu_layers: Iterable[int]) -> list[EngineSettings]:
    """Return one model's settings with these numbers of layers on the device."""
    return [settings.with_layers(name, layers)[name] for layers in n_gpu_layers]


def _around(planning: Planning, settings: SplitSettings, budget_bytes: int) -> dict[str, range]:
    """Return the splits of each model among which the largest that fits probably is.

    Weights and caches, which are known without llama.cpp, bound it from above; compute buffers cost a few layers.
    """
    unasked = {
        name: ModelMemory(shape, Anatomy.plain(shape), lambda _key: None) for name, shape in planning.shapes.items()
    }

    def held_bytes(name: str, n_gpu_layers: int) -> int:
        planned = unasked[name].plan(settings.with_layers(name, n_gpu_layers)[name]).devices[GPU]
        return planned.weights_bytes + (planned.kv_bytes or 0)

    held = {name: held_bytes(name, engine.n_gpu_layers) for name, engine in settings.items()}
    around = {}
    for name, shape in planning.shapes.items():
        room_bytes = budget_bytes - sum(held.values()) + held[name]
        n_fitting = bisect_right(range(shape.n_layer + 2), room_bytes, key=partial(held_bytes, name))
        around[name] = range(max(n_fitting - _N_AROUND, 0), n_fitting)
    return around


def _most_layers(
    planning: Planning, planner: Planner, settings: SplitSettings, name: str, budget_bytes: int, around: range
) -> int | None:
    """Return the most layers that fit, None where none do. The splits below `around` are asked for only if need be."""
    for among in (around, range(around.start)):
        planning.projections.learn({name: splits(settings, name, among)})
        most = planner.most_layers(settings, name, budget_bytes, among)
        if most is not None:
            return most
    return None


def _json(
    settings: SplitSettings, plan: MemoryPlan, budget_bytes: int | None, most: dict[str, int | None]
) -> dict[str, Any]:
    return {
        "models": {
            name: {
                "settings": settings[name].as_dict(),
                "devices": _devices_json(model, plan.overhead.n_bytes),
                "kv_source": model.kv_source,
                "most_gpu_layers": most[name],
            }
            for name, model in plan.models.items()
        },
        "total": {GPU: plan.needed_bytes, HOST: plan.host_bytes},
        "overhead": {**asdict(plan.overhead), "n_processes": plan.n_processes},
        "budget_bytes": budget_bytes,
        "fits": True if budget_bytes is None else plan.fits(budget_bytes),
    }


def _devices_json(model: ModelPlan, overhead_bytes: int | None) -> dict[str, dict[str, int | None]]:
    return {
        device: {
            **asdict(planned),
            "overhead_bytes": overhead_bytes if device == GPU else 0,
            "total_bytes": planned.total_bytes,
        }
        for device, planned in model.devices.items()
    }
