"""layertune estimate: the planned memory of a setting, by model and device. Nothing is loaded."""

from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layertune.cli.console import Table, say, show, show_json, show_table, warn
from layertune.config import CONFIG_NAME
from layertune.config.overrides import Overrides, study_config
from layertune.errors import ResultFileError
from layertune.memory import GPU, HOST, MemoryPlan, ModelPlan
from layertune.memory.placement import layer_devices
from layertune.memory.plan import add
from layertune.models.companions import companion_notes
from layertune.study.estimate import Estimate
from layertune.study.models_on_device import ModelsOnDevice
from layertune.study.study import open_study
from layertune.units import MIB, format_bytes


def run(config_path: Path | None, overrides: Overrides, *, as_json: bool) -> None:
    study = open_study(study_config(config_path, overrides), say)
    for note in companion_notes(study.shapes):
        say(note)
    found = study.estimate()
    if config_path is not None and config_path.name == CONFIG_NAME:
        _warn_of_other_files(config_path.parent)
    if as_json:
        show_json(_json(found))
    else:
        print_estimate(study.models, found)


def _warn_of_other_files(folder: Path) -> None:
    """Warn if this is a finished study's config and its model files were replaced since."""
    from layertune.results.result import read_result  # slower to import than an estimate takes
    from layertune.study.other_files import other_files

    with suppress(ResultFileError):
        for sentence in other_files(folder, read_result(folder)):
            warn(sentence)


def _json(found: Estimate) -> dict[str, Any]:
    plan = found.plan
    return {
        "models": {
            name: {
                "settings": found.settings[name].as_dict(),
                "devices": _devices_json(model, plan.overhead.n_bytes),
                "kv_source": model.kv_source,
                "most_gpu_layers": found.most_layers.get(name),
                "ram_bytes": found.ram_bytes[name],
            }
            for name, model in plan.models.items()
        },
        "total": {device: plan.needed_on(device) for device in plan.devices} | {HOST: plan.host_bytes},
        "overhead": {**asdict(plan.overhead), "n_processes": plan.n_processes},
        "budget_bytes": found.budget_bytes,
        **({"budgets_bytes": list(found.budgets_bytes)} if len(found.budgets_bytes) > 1 else {}),
        "ram_per_model_bytes": found.ram_limit_bytes,
        "fits": found.fits(),
    }


def _devices_json(model: ModelPlan, overhead_bytes: int | None) -> dict[str, dict[str, int | None]]:
    """Return the bytes by device, including the overhead of the model's process. An unknown one is not in sums."""
    devices = {}
    for device, planned in model.devices.items():
        here_bytes = overhead_bytes if device != HOST else 0
        total_bytes = add((planned.total_bytes, here_bytes or 0))
        devices[device] = {**asdict(planned), "overhead_bytes": here_bytes, "total_bytes": total_bytes}
    return devices


_PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes")


def print_estimate(models: ModelsOnDevice, found: Estimate) -> None:
    """Print the table, whether it fits each device, and how many layers of each model fit."""
    show(_title(models))
    show_table(_table(models, found))
    show(*answers(found))
    for name, excess_bytes in found.over_ram().items():
        limit = format_bytes(found.ram_limit_bytes or 0)
        show(f"{HOST}: {name} exceeds its RAM limit of {limit} by {format_bytes(excess_bytes)}")
    for name, engine in found.settings.items():
        if engine.n_parallel > 1:
            show(f"{name}: {engine.n_parallel} requests at once, {engine.n_ctx_slot} tokens {engine.each_words}")
    if found.budget_bytes is None or found.plan.needed_bytes is None:
        return
    for name, layers in found.most_layers.items():
        n_all = models.shape(name, found.settings[name]).n_layer + 1
        words = "not even 0 fit" if layers is None else f"at most {layers} of {n_all} fit"
        show(f"n_gpu_layers of {name}, the others as they are: {words}")


def _table(models: ModelsOnDevice, found: Estimate) -> Table:
    table = Table()
    for heading in ("model", "device"):
        table.column("", heading)
    for above, below in (
        ("", "layers"),
        ("", "weights"),
        ("KV", "cache"),
        ("compute", "buffers"),
        ("output", "buffer"),
        ("total", "MiB"),
    ):
        table.column(above, below, right=True)
    for name, model in found.plan.models.items():
        engine = found.settings[name]
        n_all = models.shape(name, engine).n_layer + 1
        counts = Counter(layer_devices(n_all - 1, engine.n_gpu_layers, engine.tensor_split))
        for device, planned in model.devices.items():
            n_layers = counts[device]
            parts = [_mib(getattr(planned, part)) for part in _PARTS]
            label = name if device == GPU else ""
            table.row(label, device, f"{n_layers}/{n_all}", *parts, _mib(planned.total_bytes))
    return table


def _title(models: ModelsOnDevice) -> str:
    target = models.target
    size = f", {format_bytes(target.vram_bytes)}" if target.vram_bytes is not None else ""
    emulated = " (EMULATED)" if target.kind == "emulated" else ""
    return f"Planned memory, nothing loaded: {target.name}{size}{emulated}"


def answers(found: Estimate) -> list[str]:
    """Return a sentence for each device on whether the setting fits."""
    plan = found.plan
    if not found.budgets_bytes:
        return ["no device to offload to, so no budget"]
    needed = {device: plan.needed_on(device) for device in plan.devices}
    known = {device: n_bytes for device, n_bytes in needed.items() if n_bytes is not None}
    if len(known) < len(needed):
        why = found.settings.impossible() or "it cannot create a context with them"
        return [f"llama.cpp refuses these settings with any amount of memory: {why}"]
    return [
        _answer(plan, device, n_bytes, budget_bytes, found.shared_bytes)
        for (device, n_bytes), budget_bytes in zip(known.items(), found.budgets_bytes, strict=True)
    ]


def _answer(plan: MemoryPlan, device: str, needed_bytes: int, budget_bytes: int, shared_bytes: int) -> str:
    needed_bytes += shared_bytes
    spare_bytes = budget_bytes - needed_bytes
    overhead = plan.overhead
    fits = "FITS" if needed_bytes + plan.log_error_bytes <= budget_bytes else "DOES NOT FIT"
    if fits == "FITS" and overhead.n_bytes is None:
        fits = "FITS WITHOUT the driver's overhead"
    words = "to spare" if spare_bytes >= 0 else "too much"
    if overhead.n_bytes is None:
        added = f"; it is added {plan.n_processes} times: {overhead.source}"
    elif overhead.n_bytes:
        added = f", including {plan.n_processes} × {format_bytes(overhead.n_bytes)} overhead ({overhead.source})"
    else:
        added = ""
    if shared_bytes:
        added += f", including {format_bytes(shared_bytes)} on the host, which shares its memory"
    needed, budget = format_bytes(needed_bytes), format_bytes(budget_bytes)
    return f"{device}: {needed} of {budget}: {fits}, {format_bytes(abs(spare_bytes))} {words}{added}"


def _mib(n_bytes: int | None) -> str:
    return "?" if n_bytes is None else f"{n_bytes / MIB:.2f}"
