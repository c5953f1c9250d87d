"""layertune estimate: what a setting takes, per model and device, before anything is loaded."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from layertune.cli.overrides import Overrides, study_config
from layertune.cli.planning import Planning, plan_study
from layertune.config import IntRange, StudyConfig
from layertune.devices.hardware import n_usable_cores
from layertune.memory import GPU, HOST, MemoryPlan, ModelPlan, Planner
from layertune.settings import EngineSettings, SplitSettings
from layertune.units import MIB, format_bytes

_FIELDS = ("n_ctx", "n_batch", "n_ubatch", "flash_attn", "type_k", "type_v", "n_cpu_moe")
_PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes")


def run(config_path: Path | None, overrides: Overrides, *, as_json: bool) -> None:
    config = study_config(config_path, overrides)
    planning = plan_study(config)
    settings = estimated_settings(config, planning)
    planning.projections.learn(
        {
            name: [settings.with_layers(name, layers)[name] for layers in range(shape.n_layer + 2)]
            for name, shape in planning.shapes.items()
        }
    )
    planner = planning.planner()
    budget_bytes = planning.budget_bytes(config)
    plan = planner.plan(settings)
    most = {name: _most_layers(planner, settings, name, budget_bytes) for name in settings}
    if as_json:
        typer.echo(json.dumps(_json(settings, plan, budget_bytes, most), indent=1))
    else:
        _print(planning, settings, plan, budget_bytes, most)


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


def _most_layers(planner: Planner, settings: SplitSettings, name: str, budget_bytes: int | None) -> int | None:
    if budget_bytes is None:
        return None
    return planner.most_layers(settings, name, budget_bytes)


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


def _print(
    planning: Planning,
    settings: SplitSettings,
    plan: MemoryPlan,
    budget_bytes: int | None,
    most: dict[str, int | None],
) -> None:
    console = Console(highlight=False)
    console.print(_table(planning, settings, plan))
    console.print(_verdict(planning, plan, budget_bytes))
    for name, layers in most.items():
        n_all = planning.shapes[name].n_layer + 1
        if budget_bytes is not None:
            words = "not even 0 fit" if layers is None else f"at most {layers} of {n_all} fit"
            console.print(f"n_gpu_layers of {name}, the others as they are: {words}")


def _table(planning: Planning, settings: SplitSettings, plan: MemoryPlan) -> Table:
    table = Table(title=_title(planning), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "device"):
        table.add_column(f"\n{heading}", no_wrap=True)
    for heading in ("\nlayers", "\nweights", "KV\ncache", "compute\nbuffers", "output\nbuffer", "together\nMiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, model in plan.models.items():
        n_all = planning.shapes[name].n_layer + 1
        n_gpu_layers = settings[name].n_gpu_layers
        for device, n_layers in ((GPU, n_gpu_layers), (HOST, n_all - n_gpu_layers)):
            planned = model.devices[device]
            parts = [_mib(getattr(planned, part)) for part in _PARTS]
            label = name if device == GPU else ""
            table.add_row(label, device, f"{n_layers}/{n_all}", *parts, _mib(planned.total_bytes))
    return table


def _title(planning: Planning) -> str:
    target = planning.target
    size = f", {format_bytes(target.vram_bytes)}" if target.vram_bytes is not None else ""
    emulated = " (EMULATED)" if target.kind == "emulated" else ""
    return f"Memory by plan, nothing loaded: {target.name}{size}{emulated}"


def _verdict(planning: Planning, plan: MemoryPlan, budget_bytes: int | None) -> str:
    if budget_bytes is None:
        return "no device to offload to, so no budget"
    if plan.needed_bytes is None:
        return "llama.cpp refuses these settings whatever the memory, or could not say what they take"
    spare_bytes = budget_bytes - plan.needed_bytes
    verdict = "FITS" if plan.fits(budget_bytes) else "DOES NOT FIT"
    words = "to spare" if spare_bytes >= 0 else "too much"
    overhead = plan.overhead
    if overhead.n_bytes is None:
        beside = f"; the device's own overhead comes on top, {plan.n_processes} times: {overhead.source}"
    elif overhead.n_bytes:
        beside = f", {plan.n_processes} × {format_bytes(overhead.n_bytes)} overhead in it ({overhead.source})"
    else:
        beside = ""
    needed, budget = format_bytes(plan.needed_bytes), format_bytes(budget_bytes)
    return f"{GPU}: {needed} of {budget}: {verdict}, {format_bytes(abs(spare_bytes))} {words}{beside}"


def _mib(n_bytes: int | None) -> str:
    return "?" if n_bytes is None else f"{n_bytes / MIB:.2f}"
