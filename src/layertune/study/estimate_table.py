"""An estimate as a table, as sentences and as JSON."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from layertune.memory import GPU, HOST, MemoryPlan, ModelPlan
from layertune.memory.placement import layer_devices
from layertune.memory.plan import add
from layertune.study.estimate import Estimate
from layertune.study.models_on_device import ModelsOnDevice
from layertune.tables import Table
from layertune.units import MIB, format_bytes

_PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes")


def estimate_json(found: Estimate) -> dict[str, Any]:
    """Return the document of DESIGN, section "Command line"."""
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


def estimate_lines(models: ModelsOnDevice, found: Estimate) -> list[str]:
    """Return whether it fits each device, in sentences, and how many layers of each model fit."""
    lines = answers(found)
    for name, excess_bytes in found.over_ram().items():
        limit = format_bytes(found.ram_limit_bytes or 0)
        lines.append(f"{HOST}: {name} exceeds its RAM limit of {limit} by {format_bytes(excess_bytes)}")
    for name, engine in found.settings.items():
        if engine.n_parallel > 1:
            lines.append(
                f"{name}: {engine.n_parallel} requests at once, {engine.n_ctx_slot} tokens {engine.each_words}"
            )
    if found.budget_bytes is None or found.plan.needed_bytes is None:
        return lines
    for name, layers in found.most_layers.items():
        n_all = models.shape(name, found.settings[name]).n_layer + 1
        words = "not even 0 fit" if layers is None else f"at most {layers} of {n_all} fit"
        lines.append(f"n_gpu_layers of {name}, the others as they are: {words}")
    return lines


def estimate_table(models: ModelsOnDevice, found: Estimate) -> Table:
    table = Table(_title(models))
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
