"""How exact is the plan for every architecture of llama.cpp? One small model each, planned and then really loaded.

    python benchmarks/memory_accuracy/every_architecture.py [--only NAME]

Each model is planned for the settings of `variants`: one card with several splits, several slots and mixed cache types,
and two cards. Then llama.cpp loads it on emulated cards, and its own buffer lines and the cards' ledgers are compared
with the plan. Models that generate no text are planned with an output for every token, as for embeddings.
Writes architectures.json, every setting with its errors, and architectures.md, the table of the docs, next to this
file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from architectures import MODELS, NOT_WRITTEN, write

from layertune.devices.emulated.ledger import Ledger
from layertune.devices.open_device import OpenDevice, open_device
from layertune.devices.target import Target
from layertune.engine import library
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.engine.no_alloc import DEBUG_WORDS, project, read_inventory
from layertune.engine.refusal import EngineRefused
from layertune.errors import LayertuneError
from layertune.memory import HOST, BufferBytes, ModelMemory, ModelPlan
from layertune.memory.buffers import device_name
from layertune.models import ModelShape, check_generates, read_shape
from layertune.settings import EngineSettings
from layertune.units import GIB, MIB

HERE = Path(__file__).parent
PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes")
EXACT_MIB = 0.02
CARD = Target("emulated", "emulated card", vram_bytes=16 * GIB, n_threads=1)
N_UBATCH = 64

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these models, by their names in architectures.py")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)  # the process that llama.cpp may end
    options = parser.parse_args()
    if options.measure:
        measure_all(options.measure)
        return
    names, rows, ended = options.only or sorted(MODELS), [], {}
    for name, found, why in in_other_processes(names):
        rows += found
        ended[name] = why
        print(line(name, found, why), flush=True)
    if not options.only:
        lines = ",\n".join(map(json.dumps, rows))
        (HERE / "architectures.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        (HERE / "architectures.md").write_text(report(names, rows, ended), encoding="utf-8")


def in_other_processes(names: list[str]) -> Iterator[tuple[str, list[Row], str | None]]:
    """Yield each model with its rows and, if llama.cpp ended the process before it had them all, its last words."""
    left = list(names)
    while left:
        command = [sys.executable, str(Path(__file__)), "--measure", *left]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as words:
            rows: list[Row] = []
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=words, text=True, encoding="utf-8"
            ) as process:
                for text in process.stdout or ():
                    said = json.loads(text)
                    if "done" in said:
                        yield left.pop(0), rows, said["done"]
                        rows = []
                    else:
                        rows.append(said)
            if left:
                words.seek(0)
                complaints = [each for each in words.read().splitlines() if each.strip()] or ["without a word"]
                yield left.pop(0), rows, complaints[-1].rpartition("/")[2]


def measure_all(names: list[str]) -> None:
    library.load()
    library.log().keep_debug(*DEBUG_WORDS)
    with ExitStack() as closed:
        targets = {}
        for n_cards in (1, 2):
            ledgers = [closed.enter_context(closing(Ledger.create(CARD.vram_bytes or 0))) for _ in range(n_cards)]
            target = Target.composite([CARD] * n_cards) if n_cards > 1 else CARD
            device = open_device(target, ["model"], [ledger.descriptor for ledger in ledgers])
            targets[n_cards] = closed.enter_context(closing(device)), ledgers
        for name in names:
            why = None
            try:
                for row in measure(name, targets):
                    print(json.dumps(row), flush=True)
            except (EngineRefused, LayertuneError) as error:
                why = str(error)
            print(json.dumps({"done": why}), flush=True)


def measure(name: str, targets: dict[int, tuple[OpenDevice, list[Ledger]]]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.gguf"
        write(name, file)
        shape = read_shape(file)
        n_outputs = None if generates(shape) else N_UBATCH
        for n_cards, (device, ledgers) in targets.items():
            devices, settings = device.devices("model"), list(variants(shape, n_cards))
            keys = sorted({each.memory_key(shape.n_layer) for each in settings}, key=lambda key: key.placement)
            projections = dict(project(file, keys, devices, n_outputs))
            memory = ModelMemory(shape, read_inventory(file, shape, devices), projections.__getitem__, n_cards)
            for each in settings:
                plan = memory.plan(each)
                if plan.devices[HOST].total_bytes is None:
                    yield row(name, shape, n_cards, each, plan, None, [])
                    continue
                for ledger in ledgers:
                    ledger.reset_peak()
                actual = load(file, each, devices, n_outputs)
                device.settle()
                yield row(name, shape, n_cards, each, plan, actual, [ledger.state().peak_bytes for ledger in ledgers])


def generates(shape: ModelShape) -> bool:
    try:
        check_generates(shape)
    except LayertuneError:
        return False
    return True


def variants(shape: ModelShape, n_cards: int) -> Iterator[EngineSettings]:
    every, half = shape.n_layer + 1, (shape.n_layer + 1) // 2

    def engine(n_gpu_layers: int, n_ctx: int = 1024, **changes: Any) -> EngineSettings:
        base = {"n_batch": N_UBATCH, "n_ubatch": N_UBATCH, "n_threads": 1, "flash_attn": "on"}
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=n_ctx, **{**base, **changes})

    if n_cards == 1:
        yield from (engine(n_gpu_layers) for n_gpu_layers in (0, 1, 2, half, every - 1, every))
        yield engine(half, 4096, n_parallel=4)
        yield engine(half, 1000, n_parallel=3, flash_attn="off")
        yield engine(half, type_k="q8_0", type_v="q4_0")
        yield engine(every - 2, 2048, n_parallel=2, type_k="q4_0", flash_attn="off")
        if shape.number("expert_count"):
            yield engine(every, n_cpu_moe=half)
        yield engine(every, n_cpu_ffn=half)
        yield engine(half, kv_offload="off")
        yield engine(every, kv_offload="off", flash_attn="auto")
        yield engine(half, op_offload="off")
        yield engine(half, 2048, n_parallel=3, kv_unified="on")
        return
    for tensor_split in ((1, 1), (1, 3), (3, 1)):
        yield engine(every - 1, tensor_split=tensor_split)
    yield engine(half + 1, 2048, n_parallel=2, type_k="q8_0", tensor_split=(1, 2))
    yield engine(half + 1, 2048, n_parallel=2, flash_attn="off", tensor_split=(2, 1))
    yield engine(every, kv_offload="off", tensor_split=(1, 1))


def load(file: Path, settings: EngineSettings, devices: Any, n_outputs: int | None) -> dict[str, BufferBytes]:
    """Load, decode a full physical batch and a token, and return llama.cpp's own buffer lines by device."""
    with (
        closing(
            Model(
                file,
                settings.n_gpu_layers,
                devices,
                tensor_split=settings.tensor_split,
                host_tensors=settings.placement.host_tensors,
            )
        ) as model,
        closing(Context(model, settings, n_outputs)) as context,
    ):
        if n_outputs is None:
            context.prefill(np.zeros(N_UBATCH, dtype=np.int32))
            context.step(0)
        return {
            place: model.buffers.get(place, BufferBytes()) + context.buffers.get(place, BufferBytes())
            for place in {**model.buffers, **context.buffers}
        }


def row(
    name: str,
    shape: ModelShape,
    n_cards: int,
    settings: EngineSettings,
    plan: ModelPlan,
    actual: dict[str, BufferBytes] | None,
    peaks: list[int],
) -> Row:
    """One setting and its errors that are not 0; without `actual` it is one that llama.cpp refuses."""
    cards = [device_name(index) for index in range(n_cards)]
    errors: dict[str, int] = {}
    if actual is not None:
        for device in (*cards, HOST):
            held = actual.get(device, BufferBytes())
            errors |= {f"{device}.{part}": getattr(plan.devices[device], part) - getattr(held, part) for part in PARTS}
        for card, peak_bytes in zip(cards, peaks, strict=True):
            errors[f"{card}.peak"] = (plan.devices[card].total_bytes or 0) - peak_bytes
    skipped = ("n_threads", "n_batch")
    return {
        "model": name,
        "architecture": shape.architecture,
        "generates": generates(shape),
        "n_cards": n_cards,
        "settings": {key: value for key, value in asdict(settings).items() if key not in skipped},
        "kv_source": plan.kv_source,
        "error_bytes": None if actual is None else {figure: error for figure, error in errors.items() if error},
    }


def worst_mib(rows: list[Row]) -> float:
    return max((abs(error) for row in rows for error in (row["error_bytes"] or {}).values()), default=0) / MIB


def line(name: str, rows: list[Row], ended: str | None) -> str:
    """A line of the table: how far off the worst figure of all settings is, on one card and on two."""
    loaded = [row for row in rows if row["error_bytes"] is not None]
    if not loaded:
        return f"| {name} | 0 | {len(rows)} | – | – | – | not loadable: {ended} |"
    errors = [
        f"{worst_mib(chosen):.3f}" if (chosen := [row for row in loaded if row["n_cards"] == n_cards]) else "–"
        for n_cards in (1, 2)
    ]
    sources = " and ".join(sorted({row["kv_source"] for row in loaded}))
    verdict = "exact" if worst_mib(loaded) <= EXACT_MIB else f"wrong: {worst_figure(loaded)}"
    notes = [verdict, *([f"stopped: {ended}"] if ended else []), *([] if loaded[0]["generates"] else ["no text"])]
    figures = (name, len(loaded), len(rows) - len(loaded), *errors, sources, ", ".join(notes))
    return f"| {' | '.join(map(str, figures))} |"


def worst_figure(rows: list[Row]) -> str:
    row = max(rows, key=lambda each: worst_mib([each]))
    figure, error = max(row["error_bytes"].items(), key=lambda each: abs(each[1]))
    return f"{figure} {error / MIB:+.2f} MiB at {row['settings']['n_gpu_layers']} layers on {row['n_cards']}"


def report(names: list[str], rows: list[Row], ended: dict[str, str | None]) -> str:
    by_name = {name: [row for row in rows if row["model"] == name] for name in names}
    loaded = [row for row in rows if row["error_bytes"] is not None]
    exact = [name for name, each in by_name.items() if is_exact(each)]
    n_architectures = len({MODELS[name].architecture for name in names})
    return "\n".join(
        [
            f"{len(names)} small models of {n_architectures} architectures on emulated cards, {len(loaded)} settings",
            f"loaded: {len(exact)} models are planned to {EXACT_MIB} MiB in every part and in every card's peak.",
            "Largest errors in MiB against llama.cpp's own buffer lines and the cards' ledgers.",
            "",
            "| model | settings | refused | one card | two cards | cache | |",
            "|---|--:|--:|--:|--:|---|---|",
            *(line(name, each, ended[name]) for name, each in by_name.items()),
            "",
            "Not measured:",
            "",
            *(f"- {name}: {why}" for name, why in NOT_WRITTEN.items()),
            "",
        ]
    )


def is_exact(rows: list[Row]) -> bool:
    loaded = [row for row in rows if row["error_bytes"] is not None]
    return bool(loaded) and worst_mib(loaded) <= EXACT_MIB


if __name__ == "__main__":
    main()
