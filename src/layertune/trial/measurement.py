"""The body of a trial: load every model, let memory reach its peak, clock each alone and all together."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from zlib import crc32

import numpy as np

from layertune.devices.hardware import peak_rss_bytes
from layertune.devices.opened import OpenDevice
from layertune.engine import ggml, timing
from layertune.engine.context import Context
from layertune.engine.model import Model, expert_tensors
from layertune.memory.buffers import HOST, BufferBytes
from layertune.trial.messages import ModelTask, Stage, TrialRequest
from layertune.trial.outcome import Infeasible, Measured, ModelReport, ModelSamples
from layertune.vram.probe import VramProbe

_N_WARM_UP_TOKENS = 4


@dataclass(slots=True)
class _Loaded:
    """One model of the trial while it is in memory."""

    task: ModelTask
    model: Model
    context: Context
    load_s: float
    generator: np.random.Generator

    def run(self) -> timing.Timing:
        return timing.run(self.context, self._request(self.task.n_prompt, self.task.n_generate))

    def warm_up(self) -> None:
        """One full physical batch, the largest graph there is, then a few tokens: buffers can still grow there."""
        settings = self.task.settings
        n_prompt = min(settings.n_ubatch, settings.n_ctx // settings.n_parallel - _N_WARM_UP_TOKENS)
        timing.run(self.context, self._request(n_prompt, _N_WARM_UP_TOKENS))

    def buffers(self) -> dict[str, BufferBytes]:
        devices = {**self.model.buffers, **self.context.buffers}
        return {
            device: self.model.buffers.get(device, BufferBytes()) + self.context.buffers.get(device, BufferBytes())
            for device in devices
        }

    def _request(self, n_prompt: int, n_generate: int) -> timing.Request:
        return timing.Request.random(n_prompt, n_generate, self.model.n_vocab, self.generator)


def measure(
    request: TrialRequest, device: OpenDevice, probe: VramProbe | None, announce: Callable[[Stage], None]
) -> Measured | Infeasible:
    """Run one trial in this process.

    Raises:
        EngineRefused: llama.cpp gave no model, no context or stopped decoding; the last announced stage says where.
    """
    started_s = perf_counter()
    if probe is not None:
        probe.start()  # before anything asks a GPU's backend, which creates its context
    free_bytes = _free_bytes(request, device)
    with ExitStack() as stack:
        loaded = [_load(task, request, device, stack, announce) for task in request.models]
        buffers = {each.task.name: each.buffers() for each in loaded}
        _mark(probe, "load")
        spilled_bytes = _device_bytes(buffers) - free_bytes if free_bytes is not None else 0
        if spilled_bytes > 0:
            # WSL2 and Windows drivers put what does not fit into system RAM and say nothing.
            evidence = f"the buffers exceed the {free_bytes} bytes that the driver reported free before the load"
            return Infeasible("spilled", None, evidence, spilled_bytes, perf_counter() - started_s)
        for each in loaded:
            announce(Stage("decode", each.task.name))
            each.warm_up()
        _mark(probe, "warm_up")
        alone = _run_alone(loaded, request.n_repeats, announce)
        announce(Stage("together"))
        together = _run_together(loaded, request.n_repeats)
        _mark(probe, "together")
        announce(Stage("unload"))
    device.settle()
    _mark(probe, "unload")
    return Measured(
        models={
            each.task.name: ModelReport(
                samples=_samples(alone[each.task.name], together[each.task.name]),
                buffers=buffers[each.task.name],
                load_s=each.load_s,
                flash_attn=each.context.flash_attn,
            )
            for each in loaded
        },
        vram=probe.stop() if probe is not None else None,
        peak_rss_bytes=peak_rss_bytes(),
        duration_s=perf_counter() - started_s,
    )


def _load(
    task: ModelTask, request: TrialRequest, device: OpenDevice, stack: ExitStack, announce: Callable[[Stage], None]
) -> _Loaded:
    announce(Stage("load", task.name))
    started_s = perf_counter()
    model = Model(
        Path(task.path),
        task.settings.n_gpu_layers,
        device.devices(task.name),
        host_tensors=expert_tensors(task.settings.n_cpu_moe),
    )
    stack.callback(model.close)
    announce(Stage("kv_cache", task.name))
    context = Context(model, task.settings)
    stack.callback(context.close)
    load_s = perf_counter() - started_s
    # Each model draws its own tokens, the same ones whichever models it shares the device with.
    generator = np.random.default_rng([request.seed, crc32(task.name.encode())])
    return _Loaded(task, model, context, load_s, generator)


def _run_alone(
    loaded: list[_Loaded], n_repeats: int, announce: Callable[[Stage], None]
) -> dict[str, list[timing.Timing]]:
    """Clock each model while the others rest, in rounds, so that a drift of the machine meets them all."""
    timings: dict[str, list[timing.Timing]] = {each.task.name: [] for each in loaded}
    for _ in range(n_repeats):
        for each in loaded:
            announce(Stage("solo", each.task.name))
            timings[each.task.name].append(each.run())
    return timings


def _run_together(loaded: list[_Loaded], n_repeats: int) -> dict[str, list[timing.Timing]]:
    """Clock all models at once. A faster one goes on until the slowest has its repetitions, so all of them count
    under contention; a repetition that ends after that is dropped."""
    finished = {each.task.name: 0 for each in loaded}
    enough = threading.Event()
    start = threading.Barrier(len(loaded))

    def run(each: _Loaded) -> list[timing.Timing]:
        timings: list[timing.Timing] = []
        try:
            start.wait()
            while not enough.is_set():
                timings.append(each.run())
                finished[each.task.name] += 1
                if min(finished.values()) >= n_repeats:
                    if enough.is_set():
                        timings.pop()
                    enough.set()
        finally:
            enough.set()
        return timings

    with ThreadPoolExecutor(len(loaded)) as pool:
        futures = {each.task.name: pool.submit(run, each) for each in loaded}
        return {name: future.result() for name, future in futures.items()}


def _samples(alone: list[timing.Timing], together: list[timing.Timing]) -> ModelSamples:
    return ModelSamples(
        pp_tokens_per_s=tuple(each.pp_tokens_per_s for each in alone),
        tg_tokens_per_s=tuple(each.tg_tokens_per_s for each in alone),
        ttft_s=tuple(each.ttft_s for each in alone),
        tokens_per_s=tuple(each.tokens_per_s for each in alone),
        tokens_per_s_together=tuple(each.tokens_per_s for each in together),
    )


def _free_bytes(request: TrialRequest, device: OpenDevice) -> int | None:
    """Return a local GPU's free memory before the load; the emulated card refuses instead of spilling."""
    if request.target.kind != "gpu":
        return None
    return ggml.memory(device.devices(request.models[0].name)[0])[0]


def _device_bytes(buffers: dict[str, dict[str, BufferBytes]]) -> int:
    return sum(
        held.total_bytes for by_device in buffers.values() for device, held in by_device.items() if device != HOST
    )


def _mark(probe: VramProbe | None, phase: str) -> None:
    if probe is not None:
        probe.mark(phase)
