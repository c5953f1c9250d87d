"""Runs one trial in the worker: load every model, let memory reach its peak, time each model alone and all at once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from time import perf_counter
from zlib import crc32

import numpy as np

from layertune.devices.host import peak_rss_bytes, reset_peak_rss
from layertune.devices.host_conditions import Finding
from layertune.engine import ggml, timing
from layertune.engine.context import Context
from layertune.engine.sampling import Sampler
from layertune.errors import DeviceError
from layertune.memory.buffers import BufferBytes, device_name
from layertune.trial import workloads
from layertune.trial.device_readings import spill, without_silent
from layertune.trial.effort import Effort
from layertune.trial.messages import Done, ModelTask, Progress, Stage, Stale, TrialRequest
from layertune.trial.outcome import Held, Infeasible, Measured, ModelReport, ModelSamples
from layertune.trial.time_spent import Stopwatch
from layertune.trial.weight_cache import WeightCache, bytes_on
from layertune.trial.worker_state import WorkerState, foreign_memory
from layertune.trial.workloads import LoadedModel
from layertune.units import format_duration
from layertune.vram.probe import VramProbe
from layertune.vram.vram_report import VramReport


def measure(
    request: TrialRequest,
    state: WorkerState,
    announce: Callable[[Stage], None],
    report_progress: Callable[[Progress], str | None],
) -> Done | Stale:
    """Run one trial in this process.

    Args:
        request: The trial.
        state: The device and the weights that earlier trials left loaded.
        announce: Called with each stage that begins.
        report_progress: Called with what is measured so far; returns the reason to end the trial early, or None.

    Raises:
        EngineRefused: llama.cpp created no model or no context, or stopped decoding. The last announced stage is where.
    """
    return _Trial(request, state, announce, report_progress).run()


class _Trial:
    """One trial; `run` is the list of its steps."""

    def __init__(
        self,
        request: TrialRequest,
        state: WorkerState,
        announce: Callable[[Stage], None],
        report_progress: Callable[[Progress], str | None],
    ) -> None:
        self._request = request
        self._state = state
        self._announce = announce
        self._report_progress = report_progress
        self._started_s = perf_counter()
        self._stopwatch = Stopwatch()
        self._stopped: str | None = None
        self._notes: list[str] = []
        self._phases = _Phases(state.probe, state.weights)

    def run(self) -> Done | Stale:
        state, effort = self._state, self._request.effort
        with self._stopwatch.part("unload"):
            state.weights.keep(self._request.models)
        can_reset = reset_peak_rss()
        self._phases.start()
        if why := state.not_returned(self._phases.used_bytes()):
            self._phases.report()
            return Stale(why)
        free_bytes = self._free_bytes()
        with ExitStack() as contexts:
            with self._stopwatch.part("load"):
                loaded = [self._load(task, contexts) for task in self._request.models]
            buffers = {each.name: each.buffers() for each in loaded}
            self._mark("load", loaded)
            if spilled := self._spilled(list(buffers.values()), free_bytes):
                return Done(spilled, self._stopwatch.read(), stays=False)
            with self._stopwatch.part("warm_up"):
                self._warm_up(loaded)
            if spilled := self._spilled(list(buffers.values()), free_bytes):
                return Done(spilled, self._stopwatch.read(), stays=False)
            state.watch(self._request)
            reports = self._reach_depth(loaded) if effort is None else self._time(loaded, effort)
            findings = state.findings(self._request)
            self._announce(Stage("unload"))
        with self._stopwatch.part("unload"):
            state.device.settle()
        self._phases.mark("unload", ())
        vram = self._phases.report()
        if vram is not None and self._request.target.kind == "gpu":
            names = map(device_name, range(len(vram.each)))
            vram = without_silent(vram, [bytes_on(name, buffers.values()) for name in names])
        measured = None if effort is None else self._measured(reports, vram, findings + foreign_memory(vram))
        return Done(measured, self._stopwatch.read(), can_reset and state.can_stay(vram, buffers))

    def _measured(
        self, models: dict[str, ModelReport], vram: VramReport | None, findings: Sequence[Finding]
    ) -> Measured:
        notes = vram.notes if vram is not None else ()
        return Measured(
            models,
            vram,
            peak_rss_bytes(),
            perf_counter() - self._started_s,
            warnings=(*notes, *self._notes, *(each.text for each in findings if not each.disturbs)),
            disturbances=tuple(each.text for each in findings if each.disturbs),
            held=self._phases.held,
            clock=self._stopwatch.read(),
            stopped=self._stopped,
        )

    def _load(self, task: ModelTask, contexts: ExitStack) -> LoadedModel:
        self._announce(Stage("load", task.name))
        model = self._state.weights.model(task)
        self._announce(Stage("kv_cache", task.name))
        started_s = perf_counter()
        context = Context(model, task.settings)
        contexts.callback(context.close)
        sampler = None if task.settings.pooling else Sampler(self._request.seed)
        if sampler is not None:
            contexts.callback(sampler.close)
        load_s = self._state.weights.load_s(task.name) + perf_counter() - started_s
        # Each model has its own generator, so its tokens do not depend on the other models of the trial.
        generator = np.random.default_rng([self._request.seed, crc32(task.name.encode())])
        self._phases.mark(f"load {task.name}", [*self._names_until(task), task.name])
        return LoadedModel(task, model, context, sampler, load_s, generator)

    def _names_until(self, task: ModelTask) -> list[str]:
        names = [each.name for each in self._request.models]
        return names[: names.index(task.name)]

    def _warm_up(self, loaded: Sequence[LoadedModel]) -> None:
        """Let every buffer grow to its full size, then run the workloads for the rest of the warm-up time."""
        started_s = perf_counter()
        for each in loaded:
            self._announce(Stage("decode", each.name))
            each.fill_buffers()
        self._mark("prefill", loaded)
        if self._request.effort is not None:
            workloads.warm_up(loaded, started_s + self._request.effort.warm_up_s)

    def _reach_depth(self, loaded: Sequence[LoadedModel]) -> dict[str, ModelReport]:
        """Run each workload once without timing, since only memory is measured."""
        for each in loaded:
            each.run()
        self._mark("depth", loaded)
        return {}

    def _time(self, loaded: Sequence[LoadedModel], effort: Effort) -> dict[str, ModelReport]:
        with self._stopwatch.part("measure"):
            alone = workloads.run_alone(loaded, effort, self._go_on, lambda name: self._announce(Stage("solo", name)))
            self._mark("depth", loaded)
            together: workloads.Timings = {each.name: [] for each in loaded}
            if effort.together:
                self._announce(Stage("together"))
                once = self._stopped is not None or not effort.repeat_together
                together = workloads.run_together(loaded, effort.once() if once else effort)
                self._mark("together", loaded)
            during_prefill: workloads.Timings = {each.name: [] for each in loaded}
            if effort.n_beside_prefill > 0 and len(loaded) > 1:
                self._announce(Stage("beside_prefill"))
                during_prefill = workloads.run_during_prefill(loaded, effort.n_beside_prefill)
                self._mark("beside prefill", loaded)
            at_depth = self._at_depth(loaded, alone, effort.at_depth)
        return {
            each.name: ModelReport(
                _samples(alone[each.name], together[each.name], during_prefill[each.name], at_depth.get(each.name)),
                each.buffers(),
                each.load_s,
                each.context.flash_attn,
            )
            for each in loaded
        }

    def _at_depth(
        self, loaded: Sequence[LoadedModel], alone: workloads.Timings, limits_s: Mapping[str, float | None]
    ) -> dict[str, workloads.DepthTimings]:
        """Time the models of `limits_s` at half and at full context, unless filling it takes longer."""
        found = {}
        for each in loaded:
            if each.name not in limits_s:
                continue
            self._announce(Stage("at_depth", each.name))
            limit_s, n_slot = limits_s[each.name], each.task.settings.n_ctx_slot
            least_s = n_slot / median(timed.pp_tokens_per_s for timed in alone[each.name])
            timed = each.run_at_depth(limit_s) if limit_s is None or least_s <= limit_s else None
            if timed is not None:
                found[each.name] = timed
            elif limit_s is not None:
                takes = f"filling its {n_slot} tokens takes more than {format_duration(limit_s)}"
                self._notes.append(f"{each.name} was not timed at full context: {takes}")
        if found:
            self._mark("full context", loaded)
        return found

    def _go_on(self, timings: workloads.Timings) -> bool:
        so_far = {name: _samples(alone, [], [], None) for name, alone in timings.items()}
        self._stopped = self._report_progress(Progress(so_far, self._phases.used_bytes()))
        return self._stopped is None

    def _mark(self, phase: str, loaded: Sequence[LoadedModel]) -> None:
        self._phases.mark(phase, [each.name for each in loaded])

    def _free_bytes(self) -> dict[str, int]:
        """Return each local GPU's free bytes before this trial's load, counting kept weights as free.

        It is empty for other devices: the emulated card refuses allocations instead of spilling.
        """
        if self._request.target.kind != "gpu":
            return {}
        return {name: self._state.weights.bytes_on(name) + ggml.memory(gpu)[0] for name, gpu in self._gpus().items()}

    def _gpus(self) -> dict[str, ggml.DeviceHandle]:
        """Return the local GPUs by their names in a plan."""
        gpus = self._state.device.devices(self._request.models[0].name)
        return {device_name(index): gpu for index, gpu in enumerate(gpus)}

    def _spilled(
        self, buffers: Sequence[Mapping[str, BufferBytes]], free_bytes: Mapping[str, int]
    ) -> Infeasible | None:
        """Return an outcome if a local GPU spilled; see `spill`."""
        gpus = self._gpus() if free_bytes else {}
        for device, gpu in gpus.items():
            found = spill(bytes_on(device, buffers), free_bytes[device], ggml.memory(gpu)[0])
            if found is not None:
                excess_bytes, evidence = found
                return Infeasible("spilled", None, evidence, excess_bytes, perf_counter() - self._started_s)
        return None


class _Phases:
    """Marks the end of each phase on the probe, and records what was in memory then.

    Without a probe it does nothing.
    """

    def __init__(self, probe: VramProbe | None, weights: WeightCache) -> None:
        self._probe = probe
        self._weights = weights
        self.held: dict[str, Held] = {}

    def start(self) -> None:
        """Start the probe before the first model is loaded, while only the kept weights are in memory."""
        if self._probe is not None:
            self._probe.start()
        self.mark("idle", ())

    def mark(self, phase: str, contexts: Sequence[str]) -> None:
        if self._probe is not None:
            self._probe.mark(phase)
            self.held[phase] = Held(self._weights.names, tuple(contexts))

    def used_bytes(self) -> int | None:
        """Return the bytes in use now, None without a probe or if it cannot be read."""
        if self._probe is None:
            return None
        try:
            return self._probe.read()
        except DeviceError:
            return None

    def report(self) -> VramReport | None:
        return None if self._probe is None else self._probe.stop()


def _samples(
    alone: Sequence[timing.Timing],
    together: Sequence[timing.Timing],
    during_prefill: Sequence[timing.Timing],
    at_depth: workloads.DepthTimings | None,
) -> ModelSamples:
    generated = [each for each in alone if each.n_generate]
    half, full = ((), ()) if at_depth is None else ((at_depth.half,), (at_depth.full,))
    return ModelSamples(
        pp_tokens_per_s=tuple(each.pp_tokens_per_s for each in alone),
        tg_tokens_per_s=tuple(each.tg_tokens_per_s for each in generated),
        ttft_s=tuple(each.ttft_s for each in alone),
        tokens_per_s=tuple(each.tokens_per_s for each in alone),
        tokens_per_s_together=tuple(each.tokens_per_s for each in together),
        ttft_s_beside_prefill=tuple(each.ttft_s for each in during_prefill),
        tpot_s_beside_prefill=tuple(each.tpot_s for each in during_prefill if each.n_generate),
        decode_tokens_per_s=tuple(each.decode_tokens_per_s for each in generated),
        pp_tokens_per_s_half=tuple(each.pp_tokens_per_s for each in half),
        tg_tokens_per_s_half=tuple(each.tg_tokens_per_s for each in half),
        turn_s=tuple(each.turn_s for each in half),
        pp_tokens_per_s_full=tuple(each.pp_tokens_per_s for each in full),
        tg_tokens_per_s_full=tuple(each.tg_tokens_per_s for each in full),
        fill_s=() if at_depth is None else (at_depth.fill_s,),
    )
