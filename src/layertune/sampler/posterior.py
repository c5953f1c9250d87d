"""One model's engines, and what its measured trials tell of the speed of all of them.

Every trial teaches each of its models apart: alone, a model's time does not depend on how many layers of another are
on the device. Two times make every figure of a workload: that of its prompt and that of each generated token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from statistics import mean, median, pstdev
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from layertune.config.study import Workload
from layertune.memory import EngineMemory
from layertune.sampler.time_model import Floats, Places, TimeModel, Times
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.search_space import SearchSpace
from layertune.trial.outcome import ModelSamples

# An engine and what was measured of it.
Observation = tuple[EngineSettings, ModelSamples]

_DOUBLING = ("n_batch", "n_ubatch", "n_ctx", "n_threads")
_CHOICES = ("n_cpu_moe", "flash_attn", "type_k", "type_v")

# What running together costs differs from split to split by more than it was measured to, this much at least.
_LEAST_CONTENTION_SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of every engine as a cost, less being better: its mean and what is not known of it."""

    mean: Floats
    std: Floats


@dataclass(frozen=True, slots=True)
class Speeds:
    """The times of every engine in seconds: of the prompt, and of each generated token. `contention` is how many times
    as long all of it takes with all models at once: its logarithm's mean and spread."""

    workload: Workload
    prompt: Times
    token: Times
    contention: tuple[float, float]
    noise: float
    n_ctx: Floats

    def workload_s(self) -> Floats:
        return self.prompt.mean_s + self.workload.n_generate * self.token.mean_s

    def figure(self, quantity: str) -> Figure:
        """Return one of the quantities that an objective may name."""
        n_generate = self.workload.n_generate
        if quantity == "n_ctx":
            return Figure(-self.n_ctx, np.zeros_like(self.n_ctx))
        if quantity == "ttft_s":
            return Figure(self.prompt.mean_s, self.prompt.std_s)
        if quantity == "tpot_s":
            return Figure(self.token.mean_s, self.token.std_s)
        if quantity == "pp_tokens_per_s":
            return _rate(self.workload.n_prompt, self.prompt.mean_s, self.prompt.std_s)
        if quantity == "tg_tokens_per_s":
            return _rate(1, self.token.mean_s, self.token.std_s)
        std_s = np.hypot(self.prompt.std_s, n_generate * self.token.std_s)
        alone = _rate(n_generate, self.workload_s(), std_s)
        if quantity == "tokens_per_s":
            return alone
        longer, spread = self.contention
        together = alone.mean * np.exp(-longer)
        return Figure(together, np.abs(together) * np.hypot(alone.std / np.abs(alone.mean), spread))


class ModelEngines:
    """The distinct engines of one model; the first of those that run alike stands for them."""

    def __init__(
        self,
        engines: Sequence[EngineSettings],
        n_layer: int,
        device_bytes: NDArray[np.int64],
        memory: EngineMemory,
        workload: Workload,
        elsewhere: Sequence[Observation] = (),
    ) -> None:
        """`device_bytes` is what each engine takes of each device, shape (engines, devices). `elsewhere` is what other
        hardware measured: its shape is believed until trials say otherwise."""
        first: dict[EngineSettings, int] = {}
        for place, engine in enumerate(engines):
            first.setdefault(engine.canonical(n_layer), place)
        self.rows = {canonical: row for row, canonical in enumerate(first)}
        self.engines = [engines[place] for place in first.values()]
        self.each_device_bytes = device_bytes[list(first.values())]
        self.device_bytes: NDArray[np.int64] = self.each_device_bytes.sum(axis=1)
        self.workload = workload
        self._canonical = list(first)
        self.places = _places(self._canonical, memory, workload.n_prompt)
        self.leanest = _leanest(self.places, self.device_bytes)
        self._prompt, self._token = TimeModel(self.places), TimeModel(self.places)
        known = [(row, samples) for engine, samples in elsewhere if (row := self._nearest(engine)) is not None]
        if known:
            prior = self.learn(known)
            self._prompt = TimeModel(self.places, prior.prompt.mean_s)
            self._token = TimeModel(self.places, prior.token.mean_s)

    def __len__(self) -> int:
        return len(self.engines)

    def learn(self, measured: Sequence[tuple[int, ModelSamples]]) -> Speeds:
        """Return what the samples of engines, by row, tell of all engines; there is one measured engine at least."""
        rows, prompt_s, token_s = self._times(measured)
        prompt, prompt_noise = self._prompt.learn(rows, prompt_s)
        token, token_noise = self._token.learn(rows, token_s)
        n_ctx = np.array([engine.n_ctx for engine in self._canonical], dtype=float)
        contention = _contention([samples for _, samples in measured])
        return Speeds(self.workload, prompt, token, contention, max(prompt_noise, token_noise), n_ctx)

    def rates(self, measured: Sequence[tuple[int, ModelSamples]], wanted: Sequence[int]) -> tuple[Floats, Floats]:
        """Return the tokens/s alone of the engines in rows `wanted`, and the covariance of what is not known of them,
        to first order. There is one measured engine at least."""
        rows, prompt_s, token_s = self._times(measured)
        there, n_generate = np.array(wanted, dtype=np.intp), self.workload.n_generate
        prompt_mean_s, prompt_covariance = self._prompt.joint(rows, prompt_s, there)
        token_mean_s, token_covariance = self._token.joint(rows, token_s, there)
        rates = n_generate / (prompt_mean_s + n_generate * token_mean_s)
        slopes = rates**2 / n_generate  # of a rate, for each second that its workload takes less
        return rates, (prompt_covariance + n_generate**2 * token_covariance) * np.outer(slopes, slopes)

    def workload_s(self, samples: ModelSamples) -> float:
        """Return the seconds of one workload, by the medians of its parts."""
        return self._prompt_s(samples) + self.workload.n_generate * median(samples.tpot_s)

    def _nearest(self, other: EngineSettings) -> int | None:
        """Return the row of the engine most like another study's, None where none has its layers on the device."""

        def distance(engine: EngineSettings) -> float:
            doublings = (abs(log2(getattr(engine, field) / getattr(other, field))) for field in _DOUBLING)
            n_unlike = sum(getattr(engine, field) != getattr(other, field) for field in _CHOICES)
            return float(sum(doublings) + n_unlike)

        alike = [row for row, each in enumerate(self._canonical) if each.n_gpu_layers == other.n_gpu_layers]
        return min(alike, key=lambda row: distance(self._canonical[row]), default=None)

    def _times(self, measured: Sequence[tuple[int, ModelSamples]]) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Return the rows that were measured, and the seconds of their prompts and of each of their tokens."""
        return (
            np.array([row for row, _ in measured], dtype=np.intp),
            np.array([self._prompt_s(each) for _, each in measured]),
            np.array([median(each.tpot_s) for _, each in measured]),
        )

    def _prompt_s(self, samples: ModelSamples) -> float:
        return self.workload.n_prompt / median(samples.pp_tokens_per_s)


def _contention(samples: Sequence[ModelSamples]) -> tuple[float, float]:
    longer = [
        float(np.log(median(each.tokens_per_s) / median(each.tokens_per_s_together)))
        for each in samples
        if each.tokens_per_s_together
    ]
    if not longer:
        return 0.0, 1.0
    return mean(longer), max(pstdev(longer), _LEAST_CONTENTION_SPREAD)


def _rate(n_tokens: int, mean_s: Floats, std_s: Floats) -> Figure:
    """Return tokens per second as a cost, its spread to first order."""
    rate = n_tokens / mean_s
    return Figure(-rate, rate * std_s / mean_s)


def _places(engines: Sequence[EngineSettings], memory: EngineMemory, n_prompt: int) -> Places:
    """Place engines by the weights that a token reads on the host: those that the device could hold and does not.

    What the host's buffers take is more, and no line: an input embedding of which a token reads a row, a mapped file
    from its first tensor to the last, copies that were repacked. Batches that hold a whole prompt of `n_prompt` tokens
    are alike: llama.cpp computes it at once in any of them.
    """
    plans = [memory.plan(engine).on_devices for engine in engines]
    on_devices = np.array([[held.weights_bytes for held in each] for each in plans], dtype=float)
    on_device = on_devices.sum(axis=1)
    most_bytes = max(1.0, on_device.max())  # a space without any layer on the device has one place
    most = {"n_batch": n_prompt, "n_ubatch": n_prompt}
    columns = [
        np.log2([min(number := getattr(engine, field), most.get(field, number)) for engine in engines])
        for field in _DOUBLING
    ]
    for field in _CHOICES:
        chosen = [getattr(engine, field) for engine in engines]
        columns += [np.array([each == value for each in chosen], dtype=float) for value in sorted(set(chosen))[1:]]
    # What lies on each further device instead of the first; all of it is as far as another choice.
    columns += list(on_devices[:, 1:].T / most_bytes)
    varying = [column for column in columns if np.ptp(column) > 0]
    others = np.stack(varying, axis=1) if varying else np.zeros((len(engines), 0))
    layers = np.array([engine.n_gpu_layers for engine in engines], dtype=float)
    return Places(layers, 1 - on_device / most_bytes, others)


def _leanest(places: Places, device_bytes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the rows of one engine of each place, that which needs least: the others there are as fast."""
    order = np.argsort(device_bytes, kind="stable")
    keys = np.column_stack([places.n_layers, places.on_host, places.others])[order]
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.sort(order[first])


def measured_rows(
    models: Mapping[str, ModelEngines],
    trials: Sequence[tuple[SplitSettings, Mapping[str, ModelSamples]]],
) -> dict[str, list[tuple[int, ModelSamples]]]:
    """Return what was measured by model: the row of each engine and its samples."""
    return {
        name: [
            (model.rows[settings[name]], samples[name]) for settings, samples in trials if settings[name] in model.rows
        ]
        for name, model in models.items()
    }


def model_engines(
    space: SearchSpace,
    feasible: FeasibleSpace,
    workloads: Mapping[str, Workload],
    elsewhere: Mapping[str, Sequence[Observation]] = MappingProxyType({}),
) -> dict[str, ModelEngines]:
    """Return every model's engines; `elsewhere` is what other hardware measured, by model."""
    return {
        name: ModelEngines(
            list(space.engines(name)),
            n_layer,
            feasible.engine_bytes(name),
            feasible.planner.models[name],
            workloads[name],
            elsewhere.get(name, ()),
        )
        for name, n_layer in space.n_layers.items()
    }
