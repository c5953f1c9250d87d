"""Does llama.cpp's own planner agree, and its server? Compares the plan with llama-fit-params and llama-server.

    make tools
    python benchmarks/memory_accuracy/tools.py FILE.gguf…

llama-fit-params is asked at its own setting of outputs (one per token of the logical batch), llama-server at its own
(one per slot). Both see the emulated card over RPC. Writes tools.md next to this file.
"""

import argparse
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from layertune.devices.emulated.ledger import Ledger
from layertune.devices.emulated.server import CardServer
from layertune.devices.projection_cache import Projections
from layertune.devices.target import Target
from layertune.engine.buffer_log import read_buffers
from layertune.memory import GPU, BufferBytes, ModelMemory, PlannedBytes, Planner
from layertune.memory.plan import Overhead
from layertune.models import read_shape
from layertune.settings import EngineSettings, SplitSettings
from layertune.units import GIB, MIB

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / "build" / "tools" / "bin"
CARD = Target("emulated", "emulated card", vram_bytes=64 * GIB, n_threads=2)
_FIT_LINE = re.compile(r"^RPC0 (?P<model>\d+) (?P<context>\d+) (?P<compute>\d+) *$", re.MULTILINE)
_BUFFER_NAME = re.compile(r"RPC0\[[^\]]+\]")
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    lines = [
        "| model | n_gpu_layers | n_ctx | slots | tool | weights | context | compute | by plan |",
        "|---|--:|--:|--:|---|--:|--:|--:|---|",
    ]
    for file in options.files:
        for row in compare(file):
            lines.append(row)
            print(row, flush=True)
    lines.append("")
    for file in options.files:
        for share in (0.3, 0.6, 0.9):
            lines.append(fitted(file, round(file.stat().st_size * share / MIB) * MIB))
            print(lines[-1], flush=True)
    (HERE / "tools.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def compare(file: Path) -> Iterator[str]:
    shape = read_shape(file)
    base = EngineSettings(n_gpu_layers=0, n_ctx=4096, n_batch=2048, n_ubatch=512, n_threads=2, flash_attn="on")
    for n_gpu_layers in (0, 1, (shape.n_layer + 1) // 2, shape.n_layer + 1):
        split = replace(base, n_gpu_layers=n_gpu_layers)
        for settings in (split, replace(split, n_ctx=8192, type_k="q8_0", type_v="q8_0")):
            said, planned = fit_params(file, settings), plan(file, settings, n_outputs=settings.n_batch)
            ours = (planned.weights_bytes // MIB, (planned.kv_bytes or 0) // MIB, (planned.compute_bytes or 0) // MIB)
            yield row(file, settings, "llama-fit-params", said, ours)
    for n_parallel in (1, 4):
        settings = replace(base, n_gpu_layers=shape.n_layer, n_parallel=n_parallel)
        held, planned = server(file, settings), plan(file, settings)
        figures = [(part.weights_bytes, part.kv_bytes or 0, part.compute_bytes or 0) for part in (held, planned)]
        logged, computed = ([round(figure / MIB, 2) for figure in each] for each in figures)
        yield row(file, settings, "llama-server", logged, computed)


def fitted(file: Path, vram_bytes: int) -> str:
    """Compare how many layers llama-server's own --fit chooses on a card of this size with what the plan says fits."""
    shape = read_shape(file)
    settings = EngineSettings(n_gpu_layers=0, n_ctx=4096, n_batch=2048, n_ubatch=512, n_threads=2, flash_attn="on")
    lines = server_log(file, settings, ["--fit", "on", "--fit-target", "0"], layers=(), vram_bytes=vram_bytes)
    chosen = next(int(match[1]) for line in reversed(lines) if (match := _OFFLOADED.search(line)))
    asked, every = Projections(CARD, {"model": shape}), range(shape.n_layer + 2)
    asked.learn({"model": [replace(settings, n_gpu_layers=layers) for layers in every]})
    memory = ModelMemory(shape, asked.inventory("model"), lambda key: asked.project("model", key))
    planner = Planner({"model": memory}, Overhead(0, "an emulated card has none"), n_processes=1)
    ours = planner.most_layers(SplitSettings.of({"model": settings}), "model", [vram_bytes], every)
    words = "the same" if ours == chosen else f"by plan {ours}"
    return f"- {file.stem} on {vram_bytes // MIB} MiB: llama-server --fit --fit-target 0 offloads {chosen}, {words}"


def row(file: Path, settings: EngineSettings, tool: str, said: Sequence[float], ours: Sequence[float]) -> str:
    most = max(abs(theirs - mine) for theirs, mine in zip(said, ours, strict=True))
    same = "the same" if most == 0 else f"off by {most:.2f} MiB: {', '.join(map(str, ours))}"
    figures = " | ".join(map(str, said))
    what = f"{settings.n_gpu_layers} | {settings.n_ctx} | {settings.n_parallel}"
    return f"| {file.stem} | {what} | {tool} | {figures} | {same} |"


def plan(file: Path, settings: EngineSettings, n_outputs: int | None = None) -> PlannedBytes:
    """Return what the plan puts on the device."""
    shape = read_shape(file)
    asked = Projections(CARD, {"model": shape}, n_outputs=n_outputs)
    memory = ModelMemory(shape, asked.inventory("model"), lambda key: asked.project("model", key))
    return memory.plan(settings).devices[GPU]


def fit_params(file: Path, settings: EngineSettings) -> tuple[int, int, int]:
    """Return what llama-fit-params projects for the device: model, context and compute, in whole MiB."""
    layers = ("-ngl", str(settings.n_gpu_layers))
    with card_server(CARD.vram_bytes or 0) as endpoint:
        command = [str(TOOLS / "llama-fit-params"), *arguments(file, settings, endpoint), *layers, "--fit-print", "on"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    match = _FIT_LINE.search(answer.stdout)
    if match is None:
        raise SystemExit(f"llama-fit-params said: {answer.stdout or answer.stderr[-400:]}")
    return int(match["model"]), int(match["context"]), int(match["compute"])


def server(file: Path, settings: EngineSettings) -> BufferBytes:
    """Return what a llama-server with these settings says in its log that the device holds."""
    layers = ("-ngl", str(settings.n_gpu_layers))
    lines = server_log(file, settings, ["--fit", "off"], layers=layers, vram_bytes=CARD.vram_bytes or 0)
    names = {match[0] for line in lines if (match := _BUFFER_NAME.search(line))}
    return read_buffers(lines, tuple(names)).get(GPU, BufferBytes())


def server_log(
    file: Path, settings: EngineSettings, more: Sequence[str], *, layers: Sequence[str], vram_bytes: int
) -> list[str]:
    """Start llama-server on a card of this size, and return its log up to where it listens."""
    with card_server(vram_bytes) as endpoint:
        server_only = ["--port", str(free_port()), "--parallel", str(settings.n_parallel), "--no-warmup", "-lv", "4"]
        command = [str(TOOLS / "llama-server"), *arguments(file, settings, endpoint), *layers, *server_only, *more]
        lines: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            for line in process.stdout or ():
                lines.append(line)
                if "listening on http" in line:
                    break
            process.kill()
    return lines


def arguments(file: Path, settings: EngineSettings, endpoint: str) -> list[str]:
    return [
        *("-m", str(file), "--rpc", endpoint, "-c", str(settings.n_ctx)),
        *("-b", str(settings.n_batch), "-ub", str(settings.n_ubatch), "-fa", settings.flash_attn),
        *("-ctk", settings.type_k, "-ctv", settings.type_v),
    ]


@contextmanager
def card_server(vram_bytes: int) -> Iterator[str]:
    """Serve an emulated card for one other process; yield where it listens."""
    with closing(Ledger.create(vram_bytes)) as ledger, closing(CardServer(ledger, 0, CARD.n_threads or 1)) as server:
        yield server.endpoint


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
