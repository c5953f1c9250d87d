"""Times the workloads of loaded models: each alone, all at once, during the others' long prompts, and at depth."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from layertune.engine import timing
from layertune.engine.context import Context, Tokens
from layertune.engine.model import Model
from layertune.engine.sampling import Sampler
from layertune.memory.buffers import BufferBytes
from layertune.trial.effort import Effort
from layertune.trial.messages import ModelTask

_N_WARM_UP_TOKENS = 4

# Two tokens are enough to time one that waits for another model's prompt, which may take a hundred times as long.
_N_FIRST_TOKENS = 2


Timings = dict[str, list[timing.Timing]]


@dataclass(frozen=True, slots=True)
class DepthTimings:
    """Two turns of one model on its way to a full context.

    Attributes:
        half: The turn that begins when half of the slot's context is filled.
        full: The turn that fills the slot's context to its end.
        fill_s: Seconds from an empty to a full context, with both turns.
    """

    half: timing.Timing
    full: timing.Timing
    fill_s: float


@dataclass(slots=True)
class LoadedModel:
    """One model of a trial, ready to run.

    Attributes:
        task: Its file, settings and workload.
        model: Its weights.
        context: Its context.
        sampler: Chooses its tokens; None for an embedding or reranking model.
        load_s: Seconds to load its weights, possibly for an earlier trial, and to create its context.
        generator: Draws its random tokens.
    """

    task: ModelTask
    model: Model
    context: Context
    sampler: Sampler | None
    load_s: float
    generator: np.random.Generator

    @property
    def name(self) -> str:
        """The model's name."""
        return self.task.name

    def run(self) -> timing.Timing:
        """Run and time the whole workload."""
        return timing.run(self.context, self.sampler, self._request(self.task.n_prompt, self.task.n_generate))

    def run_first_tokens(self) -> timing.Timing:
        """Run and time the workload's prompt and the first tokens of its answer."""
        return timing.run(
            self.context, self.sampler, self._request(self.task.n_prompt, min(self.task.n_generate, _N_FIRST_TOKENS))
        )

    def run_at_depth(self, limit_s: float | None = None) -> DepthTimings | None:
        """Fill the context of one slot once, and time two turns on the way; None if that takes longer than `limit_s`.

        A turn is the workload: its prompt, then its answer. All tokens are new. The first turn stays in the cache,
        since not every cache can be cut back: a recurrent state cannot, and a sliding window keeps its last tokens
        only.
        """
        n_turn, n_slot = self.task.n_prompt + self.task.n_generate, self.task.settings.n_ctx_slot
        n_full = n_slot - n_turn
        n_half = min(n_slot // 2, n_full)
        started_s = perf_counter()

        def is_late() -> bool:
            return limit_s is not None and perf_counter() - started_s > limit_s

        self.context.clear()
        if (half := self._turn_after(n_half, is_late)) is None:
            return None
        n_more = n_full - n_half - n_turn
        if n_more < 0:  # the slot does not hold the half and two turns
            self.context.clear()
            n_more = n_full
        full = self._turn_after(n_more, is_late)
        return None if full is None else DepthTimings(half, full, perf_counter() - started_s)

    def _turn_after(self, n_more: int, is_late: Callable[[], bool]) -> timing.Timing | None:
        """Process `n_more` tokens, then time a turn; None if it is late by then."""
        self.context.prefill(self._request(n_more, 0).prompt, cut=is_late)
        if is_late():
            return None
        return timing.turn(self.context, self.sampler, self._request(self.task.n_prompt, self.task.n_generate))

    def fill_buffers(self) -> None:
        """Let all buffers grow to full size: decode one full physical batch, the largest graph, and a few tokens."""
        n_generate = 0 if self.sampler is None else _N_WARM_UP_TOKENS
        n_prompt = min(self.task.settings.n_ubatch, self.task.settings.n_ctx_slot - n_generate)
        timing.run(self.context, self.sampler, self._request(n_prompt, n_generate))

    def long_prompt(self) -> Tokens:
        """Draw a prompt that fills a whole slot."""
        return self._request(self.task.settings.n_ctx_slot, 0).prompt

    def buffers(self) -> dict[str, BufferBytes]:
        """Return the sizes of its buffers by device, as llama.cpp logged them."""
        weights, rest = self.model.buffers, self.context.buffers
        return {
            device: weights.get(device, BufferBytes()) + rest.get(device, BufferBytes())
            for device in {**weights, **rest}
        }

    def _request(self, n_prompt: int, n_generate: int) -> timing.Request:
        return timing.Request.random(n_prompt, n_generate, self.model.n_vocab, self.generator)


def warm_up(loaded: Sequence[LoadedModel], until_s: float) -> None:
    """Run the workloads in rounds without timing them, until `perf_counter` reaches `until_s`."""
    while perf_counter() < until_s:
        for each in loaded:
            each.run()


def run_alone(
    loaded: Sequence[LoadedModel], effort: Effort, go_on: Callable[[Timings], bool], announce: Callable[[str], None]
) -> Timings:
    """Time each model while the others are idle. Models alternate, so that a drift of the machine affects all of them.

    Args:
        loaded: The models.
        effort: When to stop repeating.
        go_on: Called after each round from `effort.min_repeats` on; False stops.
        announce: Called with a model's name before each of its repetitions.
    """
    timings: Timings = {each.name: [] for each in loaded}
    started_s = perf_counter()
    for n_rounds in range(1, effort.max_repeats + 1):
        for each in loaded:
            announce(each.name)
            timings[each.name].append(each.run())
        if _enough(effort, timings, started_s) or (n_rounds >= effort.min_repeats and not go_on(timings)):
            break
    return timings


def run_together(loaded: Sequence[LoadedModel], effort: Effort) -> Timings:
    """Time all models while they run at once.

    A faster model continues until the slowest has its repetitions, so that every repetition runs under contention. One
    that ends later is dropped.
    """
    timings: Timings = {each.name: [] for each in loaded}
    lock, over, started_s = threading.Lock(), threading.Event(), perf_counter()
    start = threading.Barrier(len(loaded))

    def run(each: LoadedModel) -> None:
        try:
            start.wait()
            while not over.is_set():
                timed = each.run()
                with lock:
                    if over.is_set():
                        return
                    timings[each.name].append(timed)
                    if _enough(effort, timings, started_s):
                        over.set()
        finally:
            over.set()

    with ThreadPoolExecutor(len(loaded)) as pool:
        for future in [pool.submit(run, each) for each in loaded]:
            future.result()
    return timings


def run_during_prefill(loaded: Sequence[LoadedModel], n_repeats: int) -> Timings:
    """Time each model's prompt and first tokens while every other model processes long prompts throughout."""
    return {
        each.name: _during_prefill(each, [other for other in loaded if other is not each], n_repeats) for each in loaded
    }


def _during_prefill(victim: LoadedModel, others: Sequence[LoadedModel], n_repeats: int) -> list[timing.Timing]:
    over = threading.Event()
    busy = threading.Barrier(len(others) + 1)

    def prefill(other: LoadedModel) -> None:
        prompt = other.long_prompt()
        busy.wait()
        while not over.is_set():
            timing.prefill_until(other.context, prompt, over)

    with ThreadPoolExecutor(len(others)) as pool:
        futures = [pool.submit(prefill, other) for other in others]
        try:
            busy.wait()
            return [victim.run_first_tokens() for _ in range(n_repeats)]
        finally:
            over.set()
            for future in futures:
                future.result()


def _enough(effort: Effort, timings: Timings, started_s: float) -> bool:
    rates = [[each.tokens_per_s for each in of_model] for of_model in timings.values()]
    return effort.enough(rates, perf_counter() - started_s)
