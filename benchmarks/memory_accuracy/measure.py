"""How exact is the plan? Plans every setting, then really loads it and compares: on an emulated card, to the byte.

    python benchmarks/memory_accuracy/measure.py [--device gpu:0] [--models DIR] [--only NAME] [--quick] [--into FOLDER]

The settings are 5 splits × 3 contexts × 4 kinds of cache of 9 small models of 8 architectures, of the two real demo
models, and of the full-size stand-ins that DIR holds; --quick takes one context and two caches of each. Each split has
further settings: tensors or caches kept on the host, operations that are not offloaded, and one cache for all slots.

Planned figures are computed before llama.cpp loads anything; actual ones are llama.cpp's own buffer lines and, after a
prefill of one full physical batch, the card's ledger. A GPU has no such sum: CUDA keeps what was freed for the process
that freed it. every_architecture.py has all architectures, with fewer settings of each.
Writes accuracy.json, every setting with its figures, and accuracy.md, the table of the docs, into FOLDER (beside this
file).
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from architectures import write

from layertune.config.device import DeviceChoice
from layertune.devices.emulated.ledger import Ledger
from layertune.devices.open_device import OpenDevice, open_device
from layertune.devices.projection_cache import Projections
from layertune.devices.target import Target, find_target
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.engine.refusal import EngineRefused
from layertune.memory import GPU, HOST, BufferBytes, ModelMemory, ModelPlan
from layertune.models import ModelShape, read_shape
from layertune.settings import CacheType, EngineSettings, FlashAttention
from layertune.units import GIB, MIB

HERE = Path(__file__).parent
CARD = "emulated:64GiB"
SMALL = ("llama", "qwen2-tied", "qwen2", "qwen3moe", "gemma2", "deepseek2", "mamba", "lfm2", "falcon-h1")
PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes")
TARGET_PART_MIB, TARGET_SUM_PERCENT = 0.1, 0.5

# n_ctx, n_ubatch, n_parallel
CONTEXTS = ((512, 128, 1), (4096, 512, 4), (32_768, 512, 1))
# flash attention, K, V; quantized V needs flash attention
CACHES: tuple[tuple[FlashAttention, CacheType, CacheType], ...] = (
    ("on", "f16", "f16"),
    ("off", "f16", "f16"),
    ("on", "q8_0", "q8_0"),
    ("off", "q4_0", "f16"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default=CARD, help="emulated:SIZE or gpu:N")
    parser.add_argument("--quick", action="store_true", help="one context and two caches of each model")
    parser.add_argument("--into", type=Path, help="the folder to write to; only the whole emulated run has its own")
    parser.add_argument("--models", type=Path, default=HERE.parents[1] / "models")
    parser.add_argument("--only", help="one model, by its name in the table")
    options = parser.parse_args()
    if options.into is None and (options.quick or options.device != CARD):
        parser.error("--into is missing: the table next to this file is of every setting on the emulated card")
    target, into = find_target(DeviceChoice.parse(options.device), 2), options.into or HERE
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in SMALL:
            write(name, Path(folder) / f"{name}.gguf")
        files = sorted(Path(folder).glob("*.gguf")) + sorted(options.models.glob("*.gguf"))
        for file in files:
            if options.only in (None, file.stem):
                rows += measure(file, target, quick=options.quick)
                print(summary(file.stem, [row for row in rows if row["model"] == file.stem]), flush=True)
    if options.only is None:
        into.mkdir(parents=True, exist_ok=True)
        (into / "accuracy.json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
        (into / "accuracy.md").write_text(report(rows, target.name), encoding="utf-8")


def measure(file: Path, target: Target, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield one row for every setting of one model."""
    shape = read_shape(file)
    settings = list(variants(shape, quick=quick or shape.file_bytes > GIB))
    projections = Projections(target, {"model": shape})
    projections.learn({"model": settings})
    memory = ModelMemory(shape, projections.inventory("model"), lambda key: projections.project("model", key))
    plans = {each: memory.plan(each) for each in settings}
    with opened(target) as (device, ledger):
        for each in settings:
            if ledger is not None:
                ledger.reset_peak()
            if plans[each].devices[GPU].total_bytes is None:
                check_refused(file, each, device)
            else:
                actual = load(file, each, device)
                yield row(shape, file.stem, each, plans[each], actual, ledger and ledger.state().peak_bytes)


@contextmanager
def opened(target: Target) -> Iterator[tuple[OpenDevice, Ledger | None]]:
    """Open a device, and an emulated card's ledger with it."""
    with ExitStack() as closed:
        ledger, descriptors = None, []
        if target.kind == "emulated":
            ledger = closed.enter_context(closing(Ledger.create(target.vram_bytes or 0)))
            descriptors = [ledger.descriptor]
        yield closed.enter_context(closing(open_device(target, ["model"], descriptors))), ledger


def variants(shape: ModelShape, *, quick: bool) -> Iterator[EngineSettings]:
    everything = shape.n_layer + 1
    for n_gpu_layers in (0, 1, everything // 2, everything - 1, everything):
        for n_ctx, n_ubatch, n_parallel in CONTEXTS[1:2] if quick else CONTEXTS:
            for flash_attn, type_k, type_v in CACHES[:2] if quick else CACHES:
                base = EngineSettings(
                    n_gpu_layers=n_gpu_layers,
                    n_ctx=n_ctx,
                    n_batch=2048,
                    n_ubatch=n_ubatch,
                    n_threads=2,
                    n_parallel=n_parallel,
                    flash_attn=flash_attn,
                    type_k=type_k,
                    type_v=type_v,
                )
                yield base
        if shape.number("expert_count"):
            yield EngineSettings(**asdict(base) | {"n_cpu_moe": shape.n_layer // 2 + 1})
        yield replace(base, n_cpu_ffn=shape.n_layer // 2 + 1)
        for flash_attn in ("auto", "on", "off"):
            yield replace(base, type_k="f16", flash_attn=flash_attn, kv_offload="off")
        yield replace(base, op_offload="off")
        yield replace(base, n_parallel=4, kv_unified="on")


def load(file: Path, settings: EngineSettings, device: OpenDevice) -> dict[str, BufferBytes]:
    """Load, decode a full physical batch and a token, and return llama.cpp's own buffer lines by device."""
    model = Model(file, settings.n_gpu_layers, device.devices("model"), host_tensors=settings.placement.host_tensors)
    context = Context(model, settings)
    context.prefill(np.zeros(min(settings.n_ubatch, settings.n_ctx // settings.n_parallel) - 1, dtype=np.int32))
    context.step(0)
    actual = {
        place: model.buffers.get(place, BufferBytes()) + context.buffers.get(place, BufferBytes())
        for place in {**model.buffers, **context.buffers}
    }
    context.close()
    model.close()
    device.settle()
    return actual


def check_refused(file: Path, settings: EngineSettings, device: OpenDevice) -> None:
    """A setting without a plan is one that llama.cpp refuses whatever the memory."""
    model = Model(file, settings.n_gpu_layers, device.devices("model"))
    try:
        Context(model, settings)
    except EngineRefused as refused:
        print(f"{file.stem}: no plan, and llama.cpp refuses it: {refused.detail.strip('.')}")
    else:
        raise SystemExit(f"{file.stem}: llama.cpp runs {settings}, which has no plan")
    model.close()
    device.settle()


def row(
    shape: ModelShape,
    name: str,
    settings: EngineSettings,
    plan: ModelPlan,
    actual: dict[str, BufferBytes],
    ledger_bytes: int | None,
) -> dict[str, Any]:
    errors = {
        f"{device}.{part}": getattr(plan.devices[device], part) - getattr(actual.get(device, BufferBytes()), part)
        for device in (GPU, HOST)
        for part in PARTS
    }
    planned_bytes = plan.devices[GPU].total_bytes or 0
    return {
        "model": name,
        "architecture": shape.architecture,
        "settings": {key: value for key, value in asdict(settings).items() if key not in ("n_threads", "n_batch")},
        "kv_source": plan.kv_source,
        "planned_bytes": planned_bytes,
        "ledger_bytes": ledger_bytes,
        "error_bytes": errors,
    }


def worst_part_mib(rows: list[dict[str, Any]], device: str, part: str) -> float:
    return max(abs(row["error_bytes"][f"{device}.{part}"]) for row in rows) / MIB


def sum_percent(row: dict[str, Any]) -> float | None:
    """How far the planned sum is from the card's peak; with nothing on the card, from nothing."""
    if row["ledger_bytes"] is None:
        return None
    return 100 * abs(row["planned_bytes"] - row["ledger_bytes"]) / max(row["ledger_bytes"], 1)


def summary(name: str, rows: list[dict[str, Any]]) -> str:
    parts = [f"{worst_part_mib(rows, device, part):.3f}" for device in (GPU, HOST) for part in PARTS[:3]]
    architecture = rows[0]["architecture"]
    sums = [percent for row in rows if (percent := sum_percent(row)) is not None]
    worst_sum = f"{max(sums):.4f}" if sums else "–"
    return f"| {name} | {architecture} | {len(rows)} | {' | '.join(parts)} | {worst_sum} |"


def report(rows: list[dict[str, Any]], device: str) -> str:
    names = dict.fromkeys(row["model"] for row in rows)
    lines = [summary(name, [row for row in rows if row["model"] == name]) for name in names]
    misses = [
        row
        for row in rows
        if max(abs(error) for error in row["error_bytes"].values()) / MIB > TARGET_PART_MIB
        or (sum_percent(row) or 0) > TARGET_SUM_PERCENT
    ]
    header = "| model | architecture | settings | weights | KV | compute | weights | KV | compute | sum, % |"
    missed = [f"- {each['model']}: {each['settings']}: {each['error_bytes']}" for each in misses] or ["None."]
    return "\n".join(
        [
            f"{len(rows)} settings of {len(names)} models on this device: {device}. Largest errors of the plan: in",
            "MiB against llama.cpp's own buffer lines, on the device (first three) and on the host (next three), and",
            "of the sum on the device in % of what it held.",
            "",
            header,
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
            *lines,
            "",
            f"Settings that miss {TARGET_PART_MIB} MiB in a part or {TARGET_SUM_PERCENT} % in the sum:",
            "",
            *missed,
            "",
        ]
    )


if __name__ == "__main__":
    main()
