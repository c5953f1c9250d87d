"""Why llama-bench's tg is a little above ours: tokens right after a prompt are slower than later ones.

    python benchmarks/fidelity/after_prompt.py FILE.gguf [--repeats 30] [--n-threads 2]

llama-bench's tg at a depth decodes the prompt before its first repetition only; before the others it restores a copy of
the KV cache (llama-bench.cpp, ctx_state). Here one context generates the same tokens on the CPU after a prompt, after a
restored copy, and after a restored copy with the caches emptied by reading other memory. The order is shuffled each
repetition; figures are medians by position of the token, as more time than after a plain restored copy. Prints a table.
"""

import argparse
import ctypes
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from layertune.engine import library
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.engine.timing import Request
from layertune.settings import EngineSettings

N_PROMPT, N_GENERATE = 96, 64
PARTS = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32), (32, 64), (0, 64))
EMPTYING_BYTES = 2**29  # more than any processor's caches


class SavedCache:
    """A copy of a context's KV cache, as llama-bench keeps it."""

    def __init__(self, context: Context) -> None:
        self._llama_cpp = library.load()
        self._pointer = context._pointer  # the engine has no use for copies, so it does not offer them
        size = self._llama_cpp.llama_state_seq_get_size(self._pointer, 0)
        self._copy = (ctypes.c_uint8 * size)()
        self._llama_cpp.llama_state_seq_get_data(self._pointer, self._copy, size, 0)

    def restore(self) -> None:
        self._llama_cpp.llama_memory_clear(self._llama_cpp.llama_get_memory(self._pointer), False)
        if not self._llama_cpp.llama_state_seq_set_data(self._pointer, self._copy, len(self._copy), 0):
            raise SystemExit("llama.cpp did not restore the KV cache")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--n-threads", type=int, default=2)
    options = parser.parse_args()
    settings = EngineSettings(
        n_gpu_layers=0, n_ctx=256, n_batch=64, n_ubatch=64, n_threads=options.n_threads, flash_attn="on"
    )
    model = Model(options.file, 0, [])
    times = clock(Context(model, settings), model.n_vocab, options.repeats)
    print(f"{options.file.stem}, CPU, {options.n_threads} threads, {options.repeats} repetitions of each:\n")
    print("| tokens | " + " | ".join(name for name in times if name != "restored") + " |\n|---|--:|--:|")
    for first, end in PARTS:
        sums = {name: float(np.median(of_name, axis=0)[first:end].sum()) for name, of_name in times.items()}
        more = [f"{sums[name] / sums['restored'] - 1:+.1%}" for name in times if name != "restored"]
        print(f"| {first + 1} to {end} | {' | '.join(more)} |")


def clock(context: Context, n_vocab: int, n_repeats: int) -> dict[str, NDArray[np.float64]]:
    """Return the time of every token, by what went before: one row a repetition."""
    generator, memory = np.random.default_rng(0), np.ones(EMPTYING_BYTES, dtype=np.uint8)
    request = Request.random(N_PROMPT, N_GENERATE, n_vocab, generator)
    context.prefill(request.prompt)
    saved = SavedCache(context)

    def prompt() -> None:
        context.clear()
        context.prefill(request.prompt)

    def emptied() -> None:
        saved.restore()
        memory.sum()

    before: dict[str, Callable[[], None]] = {
        "after a prompt": prompt,
        "restored": saved.restore,
        "restored, caches emptied": emptied,
    }
    times: dict[str, list[list[int]]] = {name: [] for name in before}
    for _ in range(n_repeats):
        request = Request.random(N_PROMPT, N_GENERATE, n_vocab, generator)
        for name in generator.permutation(list(before)):
            before[name]()
            times[name].append([step(context, int(token)) for token in request.answer])
    return {name: np.array(of_name, dtype=np.float64) for name, of_name in times.items()}


def step(context: Context, token: int) -> int:
    started_ns = perf_counter_ns()
    context.step(token)
    return perf_counter_ns() - started_ns


if __name__ == "__main__":
    main()
