"""How exact is the plan? Plans every setting, then really loads it on an emulated card and compares, to the byte.

    python benchmarks/memory_accuracy/measure.py [--models DIR] [--only NAME]

The settings are 5 splits × 3 contexts × 4 kinds of cache of small models of 9 architectures, of the two real demo
models, and of the full-size stand-ins that DIR holds. Planned figures are computed before llama.cpp loads anything;
actual ones are llama.cpp's own buffer lines, and the card's ledger after a prefill of one full physical batch. Writes
accuracy.json, every setting with its figures, and accuracy.md, the table of the docs, beside this file.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from architectures import ARCHITECTURES, write

from layertune.devices.emulated.card import EmulatedCard
from layertune.devices.emulated.ledger import Ledger
from layertune.devices.projections import Projections
from layertune.devices.target import Target
from layertune.engine.context import Context
from layertune.engine.model import Model, expert_tensors
from layertune.engine.refusal import EngineRefused
from layertune.memory import GPU, HOST, BufferBytes, ModelMemory, ModelPlan
from layertune.models import ModelShape, read_shape
from layertune.settings import CacheType, EngineSettings, FlashAttention
from layertune.units import GIB, MIB

HERE = Path(__file__).parent
CARD = Target("emulated", "emulated card", vram_bytes=64 * GIB, n_threads=2)
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
    parser.add_argument("--models", type=Path, default=HERE.parents[1] / "models")
    parser.add_argument("--only", help="one model, by its name in the table")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ARCHITECTURES:
            write(name, Path(folder) / f"{name}.gguf")
        files = sorted(Path(folder).glob("*.gguf")) + sorted(options.models.glob("*.gguf"))
        for file in files:
            if options.only in (None, file.stem):
                rows += measure(file)
                print(summary(file.stem, [row for row in rows if row["model"] == file.stem]), flush=True)
    if options.only is None:
        (HERE / "accuracy.json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
        (HERE / "accuracy.md").write_text(report(rows), encoding="utf-8")


def measure(file: Path) -> Iterator[dict[str, Any]]:
    """Yield one row for every setting of one model."""
    shape = read_shape(file)
    settings = list(variants(shape))
    projections = Projections(CARD, {"model": shape})
    projections.learn({"model": settings})
    memory = ModelMemory(shape, projections.anatomy("model"), lambda key: projections.project("model", key))
    plans = {each: memory.plan(each) for each in settings}
    ledger = Ledger.create(CARD.vram_bytes or 0)
    card = EmulatedCard(ledger, ["model"], 2)
    try:
        for each in settings:
            before = ledger.state()
            if plans[each].devices[GPU].total_bytes is None:
                check_refused(file, each, card)
            else:
                actual = load(file, each, card)
                yield row(shape, file.stem, each, plans[each], actual, ledger.state().peak_bytes)
            ledger.restore(before)  # the next setting's peak starts at nothing
    finally:
        card.close()
        ledger.close()


def variants(shape: ModelShape) -> Iterator[EngineSettings]:
    """A full-size model is loaded with one context only."""
    everything = shape.n_layer + 1
    large = shape.file_bytes > GIB
    for n_gpu_layers in (0, 1, everything // 2, everything - 1, everything):
        for n_ctx, n_ubatch, n_parallel in CONTEXTS[1:2] if large else CONTEXTS:
            for flash_attn, type_k, type_v in CACHES[:2] if large else CACHES:
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


def load(file: Path, settings: EngineSettings, card: EmulatedCard) -> dict[str, BufferBytes]:
    """Load, decode a full physical batch and a token, and return llama.cpp's own buffer lines by device."""
    model = Model(file, settings.n_gpu_layers, card.devices("model"), host_tensors=expert_tensors(settings.n_cpu_moe))
    context = Context(model, settings)
    context.prefill(np.zeros(min(settings.n_ubatch, settings.n_ctx // settings.n_parallel) - 1, dtype=np.int32))
    context.step(0)
    devices = {**model.buffers, **context.buffers}
    actual = {
        device: model.buffers.get(device, BufferBytes()) + context.buffers.get(device, BufferBytes())
        for device in devices
    }
    context.close()
    model.close()
    card.settle()
    return actual


def check_refused(file: Path, settings: EngineSettings, card: EmulatedCard) -> None:
    """A setting without a plan is one that llama.cpp refuses whatever the memory."""
    model = Model(file, settings.n_gpu_layers, card.devices("model"))
    try:
        Context(model, settings)
    except EngineRefused as refused:
        print(f"{file.stem}: no plan, and llama.cpp refuses it: {refused.detail.strip('.')}")
    else:
        raise SystemExit(f"{file.stem}: llama.cpp runs {settings}, which has no plan")
    model.close()
    card.settle()


def row(
    shape: ModelShape, name: str, settings: EngineSettings, plan: ModelPlan, actual: dict[str, BufferBytes], peak: int
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
        "ledger_bytes": peak,
        "error_bytes": errors,
    }


def worst_part_mib(rows: list[dict[str, Any]], device: str, part: str) -> float:
    return max(abs(row["error_bytes"][f"{device}.{part}"]) for row in rows) / MIB


def sum_percent(row: dict[str, Any]) -> float:
    """How far the planned sum is from the card's peak; with nothing on the card, from nothing."""
    return 100 * abs(row["planned_bytes"] - row["ledger_bytes"]) / max(row["ledger_bytes"], 1)


def summary(name: str, rows: list[dict[str, Any]]) -> str:
    parts = [f"{worst_part_mib(rows, device, part):.3f}" for device in (GPU, HOST) for part in PARTS[:3]]
    architecture = rows[0]["architecture"]
    return f"| {name} | {architecture} | {len(rows)} | {' | '.join(parts)} | {max(map(sum_percent, rows)):.4f} |"


def report(rows: list[dict[str, Any]]) -> str:
    names = dict.fromkeys(row["model"] for row in rows)
    lines = [summary(name, [row for row in rows if row["model"] == name]) for name in names]
    misses = [
        row
        for row in rows
        if max(abs(error) for error in row["error_bytes"].values()) / MIB > TARGET_PART_MIB
        or sum_percent(row) > TARGET_SUM_PERCENT
    ]
    header = "| model | architecture | settings | weights | KV | compute | weights | KV | compute | sum, % |"
    missed = [f"- {each['model']}: {each['settings']}: {each['error_bytes']}" for each in misses] or ["None."]
    return "\n".join(
        [
            f"{len(rows)} settings of {len(names)} models on the emulated card. Largest errors of the plan: in MiB",
            "against llama.cpp's own buffer lines, on the card (first three) and on the host (next three), and of the",
            "sum on the card in % of the ledger's peak.",
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
