"""Are layertune's pp, tg and tokens/s those of llama-bench? One llama.cpp, model, device and settings, clocked by both.

    make models tools
    python benchmarks/fidelity/measure.py [--quick] [--turns 4] [--wait 0] [--gpu] [--into FOLDER]

A turn is one trial's worker process of ours, then llama-bench's processes, cell after cell: layertune, llama-bench,
layertune, … Each cell's figure is the median over the turns of ours / theirs, paired, where a side's value is the
median of its repetitions. The cells are the demo pair and a full-size stand-in (random weights; written to
build/fidelity when first needed), on the CPU and on an emulated card: EMULATED, so speeds are this machine's, on both
sides alike. With --gpu they are the full-size stand-in on the first GPU, a longer prompt and answer.

Writes fidelity.json, every raw sample and what else the machine did meanwhile, and fidelity.md, the table. No turn is
dropped or repeated. Takes about 20 minutes on two cores, and --quick one. They must be quiet: llama.cpp's threads meet
at a barrier after every operation, so one that waits for a core holds up the other. --wait lets each turn wait that
many seconds for other programs to leave.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sides import Cell, begin_watch, layertune, llama_bench, llama_bench_version, taken_cores
from table import render

from layertune.config.device import DeviceChoice
from layertune.devices.host import this_machine
from layertune.devices.target import Target, find_target
from layertune.models import read_shape
from layertune.models.known_models import find_known
from layertune.models.standin import known_standin
from layertune.settings import EngineSettings
from layertune.units import GIB

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEMO_PAIR = ("SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf")
FULL_SIZE = "Qwen2.5-3B-Instruct"

CPU = Target("cpu", "CPU")
CARD = Target("emulated", "emulated card", vram_bytes=6 * GIB, n_threads=2)
# Threads that llama.cpp computes with on the host: all cores, or one beside the card's two, as the demo study has it.
N_THREADS = {"cpu": 2, "emulated": 1, "gpu": 4}

# Prompt and answer together fill one step of n_ctx's padding (256): llama-bench's contexts, of n_prompt and of
# n_prompt + n_generate tokens, are then padded to the same size as ours.
N_CTX = 256
SMALL = {"n_prompt": 96, "n_generate": 64, "n_repeats": 3}
LARGE = {"n_prompt": 32, "n_generate": 12, "n_repeats": 2}
ON_GPU = {"n_prompt": 192, "n_generate": 64, "n_repeats": 5}

QUIET_S = 3
MAX_TAKEN_CORES = 0.1  # devices/host_conditions.py: less than the spread of repetitions hides

Batches = tuple[int, int]  # n_batch, n_ubatch


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="two cells of the smallest model, two turns")
    parser.add_argument("--gpu", action="store_true", help="the full-size stand-in on the first GPU, nothing else")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds that a turn may wait for a quiet machine")
    parser.add_argument("--into", type=Path, help="the folder to write to; only the whole emulated run has its own")
    options = parser.parse_args()
    if options.into is None and (options.gpu or options.quick):
        parser.error("--into is missing: the table next to this file is of all cells on the CPU and the emulated card")
    into = options.into or HERE
    into.mkdir(parents=True, exist_ok=True)
    if options.gpu:
        cells = list(gpu_cells())
    else:
        cells = quick_cells() if options.quick else [*small_cells(), *full_size_cells()]
    record = begin(cells)
    for turn in range(2 if options.quick else options.turns):
        for cell, row in zip(cells, record["cells"], strict=True):
            record["waited_minutes"] += wait_until_quiet(options.wait) / 60
            started_s = time.monotonic()
            row["turns"].append(run_turn(cell, turn))
            record["minutes"] += (time.monotonic() - started_s) / 60
            (into / "fidelity.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            print(f"{record['minutes']:.1f} min, turn {turn}, {row['model']}: {row['turns'][-1]}", flush=True)
    table = render(record)
    (into / "fidelity.md").write_text(table, encoding="utf-8")
    print(table)


def small_cells() -> Iterator[Cell]:
    for name in DEMO_PAIR:
        file = ROOT / "models" / name
        every = read_shape(file).n_layer + 1
        for batches in ((256, 64), (64, 64)):
            yield cell(file, CPU, 0, batches, SMALL)
        for n_gpu_layers in (0, every // 2, every):
            yield cell(file, CARD, n_gpu_layers, (256, 256), SMALL)
        yield cell(file, CARD, every, (64, 64), SMALL)


def full_size_cells() -> Iterator[Cell]:
    file = full_size()
    every = read_shape(file).n_layer + 1
    yield cell(file, CPU, 0, (64, 64), LARGE)
    for n_gpu_layers in (every // 2, every):
        yield cell(file, CARD, n_gpu_layers, (64, 64), LARGE)


def gpu_cells() -> Iterator[Cell]:
    gpu, file = find_target(DeviceChoice.parse("gpu:0"), 1), full_size()
    every = read_shape(file).n_layer + 1
    for n_gpu_layers in (every // 2, every):
        yield cell(file, gpu, n_gpu_layers, (256, 256), ON_GPU)


def full_size() -> Path:
    """Return the full-size stand-in, made first where it is missing."""
    file = ROOT / "build" / "fidelity" / f"{FULL_SIZE}.gguf"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        known_standin(find_known(FULL_SIZE)).write(file, seed=0, overwrite=False)
    return file


def quick_cells() -> list[Cell]:
    file = ROOT / "models" / DEMO_PAIR[0]
    return [cell(file, CPU, 0, (64, 64), SMALL), cell(file, CARD, 31, (64, 64), SMALL)]


def cell(file: Path, target: Target, n_gpu_layers: int, batches: Batches, workload: dict[str, int]) -> Cell:
    n_batch, n_ubatch = batches
    settings = EngineSettings(
        n_gpu_layers=n_gpu_layers,
        n_ctx=N_CTX,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        n_threads=N_THREADS[target.kind],
        flash_attn="on",
    )
    return Cell(file, target, settings, **workload)


def wait_until_quiet(most_s: float) -> float:
    """Return the seconds waited until other programs took next to nothing of the cores, at most `most_s`."""
    started_s, n_quiet = time.monotonic(), 0
    while n_quiet < QUIET_S and time.monotonic() - started_s < most_s:
        watch = begin_watch()
        time.sleep(1)
        n_quiet = n_quiet + 1 if taken_cores(watch.use()) < MAX_TAKEN_CORES else 0
    return time.monotonic() - started_s


def run_turn(cell: Cell, turn: int) -> dict[str, Any]:
    return {"layertune": asdict(layertune(cell, seed=turn)), "llama_bench": asdict(llama_bench(cell))}


def begin(cells: list[Cell]) -> dict[str, Any]:
    machine = this_machine()
    return {
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": 0.0,
        "waited_minutes": 0.0,
        "machine": {"cpu": machine.cpu_model, "n_cores": machine.n_cores, "loadavg_before": os.getloadavg()},
        "llama_cpp": {"layertune": our_llama_cpp(), "llama_bench": llama_bench_version()},
        "device_note": device_note(cells),
        "cells": [describe(cell) for cell in cells],
    }


def device_note(cells: list[Cell]) -> str:
    gpus = sorted({cell.target.name for cell in cells if cell.target.kind == "gpu"})
    if gpus:
        return f"{', '.join(gpus)}, a real GPU"
    return "EMULATED card: two threads of this CPU behind llama.cpp's RPC backend; nothing ran on a GPU"


def our_llama_cpp() -> str:
    from layertune.engine.build import build_info

    info = build_info()
    return f"llama-cpp-python {info.llama_cpp_python}, commit {info.commit}; {info.system_info}"


def describe(cell: Cell) -> dict[str, Any]:
    return {
        "model": cell.file.stem,
        "device": cell.target.kind,
        "card_n_threads": cell.target.n_threads,
        "settings": cell.settings.as_dict(),
        "n_prompt": cell.n_prompt,
        "n_generate": cell.n_generate,
        "n_repeats": cell.n_repeats,
        "turns": [],
    }


if __name__ == "__main__":
    main()
