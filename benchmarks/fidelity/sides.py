"""The two sides of the comparison, each one process a turn: a trial's worker, and llama-bench.

Both get the same file, device, threads, batches, flash attention and KV types; measure.py says what cannot be equal.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layertune.devices.emulated.ledger import Ledger
from layertune.devices.emulated.server import CardServer
from layertune.devices.host import n_usable_cores
from layertune.devices.host_conditions import HostUse
from layertune.devices.host_watch import HostWatch
from layertune.devices.target import Target
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext

LLAMA_BENCH = Path(__file__).parents[2] / "build" / "tools" / "bin" / "llama-bench"
_NS_PER_S = 1e9
_TRIAL_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One comparison: a model, where it runs, its settings, and the tokens of one repetition."""

    file: Path
    target: Target
    settings: EngineSettings
    n_prompt: int
    n_generate: int
    n_repeats: int


@dataclass(frozen=True, slots=True)
class Samples:
    """What one turn of one side measured, a value a repetition, in order; and how many cores other programs and the
    hypervisor took meanwhile, in the mean over the turn."""

    pp_tokens_per_s: tuple[float, ...]
    tg_tokens_per_s: tuple[float, ...]
    tokens_per_s: tuple[float, ...]  # what a search maximises: generated tokens over the time of prompt and answer
    seconds: float
    taken_cores: float


def begin_watch() -> HostWatch:
    watch = HostWatch(n_usable_cores())
    watch.start()
    return watch


def taken_cores(use: HostUse) -> float:
    """Return how many cores other programs and the hypervisor took, in the mean."""
    return ((use.foreign_cpu_s or 0.0) + (use.stolen_cpu_s or 0.0)) / use.window_s


def layertune(cell: Cell, seed: int) -> Samples:
    """Run one trial in a fresh worker, as a search does."""
    paths, workloads = {"model": str(cell.file)}, {"model": (cell.n_prompt, cell.n_generate)}
    runner = ProcessTrialRunner(TrialContext(cell.target, paths, workloads, seed, _TRIAL_TIMEOUT_S))
    # The trial stops when it would ask for one more repetition than llama-bench's.
    effort = Effort(min_repeats=cell.n_repeats, max_repeats=cell.n_repeats + 1, target_spread=0.0)
    watch = begin_watch()
    with closing(runner):
        outcome = runner.run(SplitSettings.of({"model": cell.settings}), effort, lambda _progress: "enough")
        use = watch.use()  # before the worker ends, while its children can still be asked
    if not isinstance(outcome, Measured):
        raise SystemExit(f"the trial of {cell} was not measured: {outcome}")
    clocked = outcome.models["model"].samples
    decode = clocked.decode_tokens_per_s  # llama-bench does not sample
    rates = (clocked.pp_tokens_per_s, decode, _of_workload(cell, clocked.pp_tokens_per_s, decode))
    return Samples(*rates, use.window_s, taken_cores(use))


def _of_workload(cell: Cell, pp: Sequence[float], tg: Sequence[float]) -> tuple[float, ...]:
    """Return the tokens/s of the workload for each repetition, from its speeds."""
    speeds = zip(pp, tg, strict=True)
    return tuple(cell.n_generate / (cell.n_prompt / each + cell.n_generate / other) for each, other in speeds)


def llama_bench(cell: Cell) -> Samples:
    """Run llama-bench for pp, and for a prompt and its answer on one clock (pg); then, in another process because its
    depths apply to all tests, for tg at the depth of our prompt."""
    n_prompt, n_generate = str(cell.n_prompt), str(cell.n_generate)
    watch = begin_watch()
    pp, pg = _ask_llama_bench(cell, ("-p", n_prompt, "-n", "0", "-pg", f"{n_prompt},{n_generate}", "-d", "0"))
    (tg,) = _ask_llama_bench(cell, ("-p", "0", "-n", n_generate, "-d", n_prompt))
    use = watch.use()
    rates = (_rates(pp, cell.n_prompt), _rates(tg, cell.n_generate), _rates(pg, cell.n_generate))
    return Samples(*rates, use.window_s, taken_cores(use))


def llama_bench_version() -> str:
    said = subprocess.run([str(LLAMA_BENCH), "--version"], capture_output=True, text=True, check=True)
    lines = (said.stdout + said.stderr).splitlines()  # a CUDA build tells its devices first
    return next(line for line in lines if line.startswith("version:"))


def _ask_llama_bench(cell: Cell, tests: Sequence[str]) -> list[dict[str, Any]]:
    with card(cell.target) if cell.target.kind == "emulated" else nullcontext() as endpoint:
        device = () if endpoint is None else ("--rpc", endpoint)
        command = [str(LLAMA_BENCH), *device, *_arguments(cell), *tests]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-400:]}")
    return list(json.loads(done.stdout))


def _arguments(cell: Cell) -> list[str]:
    settings = cell.settings
    return [
        *("-m", str(cell.file), "-o", "json", "-r", str(cell.n_repeats)),
        *("-ngl", str(settings.n_gpu_layers), "-b", str(settings.n_batch), "-ub", str(settings.n_ubatch)),
        *("-t", str(settings.n_threads), "-fa", settings.flash_attn),
        *("-ctk", settings.type_k, "-ctv", settings.type_v),
        *(("-sm", "none", "-mg", str(cell.target.gpu_index)) if cell.target.kind == "gpu" else ()),
    ]


def _rates(test: dict[str, Any], n_tokens: int) -> tuple[float, ...]:
    return tuple(n_tokens * _NS_PER_S / sample_ns for sample_ns in test["samples_ns"])


@contextmanager
def card(target: Target) -> Iterator[str]:
    """Serve an emulated card for one other process, with the server that a trial starts; yield where it listens."""
    with (
        closing(Ledger.create(target.vram_bytes or 0)) as ledger,
        closing(CardServer(ledger, 0, target.n_threads or 1)) as server,
    ):
        yield server.endpoint
