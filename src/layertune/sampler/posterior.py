"""The posterior of one model's speeds, for all of its engines, from the trials that measured some of them.

Each trial informs the posterior of each of its models separately: alone, a model's time does not depend on the layers
of another model. The prompt's time and that of each generated token are modelled; all speeds follow from them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log2
from statistics import mean, median, pstdev
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from layertune.config.model_config import Workload
from layertune.config.objective import AT_DEPTH, Objective
from layertune.memory import EngineMemory
from layertune.sampler.speeds import Posterior, Speeds
from layertune.sampler.time_model import Features, Floats, TimeModel, Times
from layertune.settings import SWITCHES, TENSOR_OVERRIDES, EngineSettings, SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.search_space import SearchSpace
from layertune.trial.outcome import ModelSamples

# An engine, and the samples of one trial of it.
Observation = tuple[EngineSettings, ModelSamples]

_DOUBLING = ("n_batch", "n_ubatch", "n_ctx", "n_threads", "n_threads_batch")
_CHOICES = ("file", "flash_attn", "type_k", "type_v", *SWITCHES, TENSOR_OVERRIDES)
_COUNTS = ("n_cpu_ffn", "n_cpu_moe")

# Standard deviation of the logarithm of the contention, at least: it differs from split to split by more than was seen.
_LEAST_CONTENTION_SPREAD = 0.05


class ModelEngines:
    """The distinct engines of one model. Of several settings that llama.cpp runs alike, the first stands for all."""

    def __init__(
        self,
        engines: Sequence[EngineSettings],
        canonical: Callable[[EngineSettings], EngineSettings],
        device_bytes: NDArray[np.int64],
        memory: EngineMemory,
        workload: Workload,
        prior: Sequence[Observation] = (),
    ) -> None:
        """
        Args:
            engines: all engines of the space.
            canonical: returns the form that llama.cpp runs an engine in.
            device_bytes: what each engine takes of each device, shape (engines, devices).
            memory: plans the memory of an engine.
            workload: how many tokens are read and generated.
            prior: what another study measured; its shape is used until this study's trials show another.
        """
        first: dict[EngineSettings, int] = {}
        for index, engine in enumerate(engines):
            first.setdefault(canonical(engine), index)
        self.rows = {engine: row for row, engine in enumerate(first)}
        self.engines = [engines[index] for index in first.values()]
        self.each_device_bytes = device_bytes[list(first.values())]
        self.device_bytes: NDArray[np.int64] = self.each_device_bytes.sum(axis=1)
        self.workload = workload
        self._canonical = list(first)
        self._known: dict[str, Posterior] = {}  # by the names of objectives
        self.features = _features(self._canonical, memory, workload.n_prompt)
        self.leanest = _leanest(self.features, self.device_bytes)
        expected = _weights(self._canonical, memory)  # an engine's time is taken to grow with its file
        self._prompt, self._token = TimeModel(self.features, expected), TimeModel(self.features, expected)
        known = [(row, samples) for engine, samples in prior if (row := self._nearest(engine)) is not None]
        if known:
            speeds = self.learn(known)
            self._prompt = TimeModel(self.features, speeds.prompt.mean_s, measured=True)
            self._token = TimeModel(self.features, speeds.token.mean_s, measured=True)

    def __len__(self) -> int:
        return len(self.engines)

    def learn(self, measured: Sequence[tuple[int, ModelSamples]]) -> Speeds:
        """Return the posterior of all engines' speeds.

        Args:
            measured: rows of engines and their samples; at least one.
        """
        rows, prompt_s, token_s = self._times(measured)
        prompt, prompt_noise = self._prompt.learn(rows, prompt_s)
        token, token_noise = self._token.learn(rows, token_s)
        contention = _contention([samples for _, samples in measured])
        noise = max(prompt_noise, token_noise)
        return Speeds(self.workload, prompt, token, contention, noise, self._at_depth(measured))

    def _at_depth(self, measured: Sequence[tuple[int, ModelSamples]]) -> dict[str, Times]:
        """Return the posterior of the times at depth, as far as trials measured them."""
        found = {}
        for quantity in sorted(AT_DEPTH):
            deep = [(row, getattr(each, quantity)) for row, each in measured if getattr(each, quantity)]
            if deep:
                rows = np.array([row for row, _ in deep], dtype=np.intp)
                values = np.array([median(samples) for _, samples in deep])
                found[quantity] = self._token.learn(rows, values if quantity == "turn_s" else 1 / values)[0]
        return found

    def posterior(self, objective: Objective, speeds: Speeds) -> Posterior:
        """Return the posterior of an objective of this model, as a cost. What the settings determine is certain."""
        if not objective.is_set:
            return speeds.posterior(objective.quantity)
        if objective.name not in self._known:
            values = np.array([objective.of_settings(engine) for engine in self._canonical], dtype=float)
            costs = -values if objective.direction == "maximize" else values
            self._known[objective.name] = Posterior(costs, np.zeros_like(costs))
        return self._known[objective.name]

    def rates(self, measured: Sequence[tuple[int, ModelSamples]], wanted: Sequence[int]) -> tuple[Floats, Floats]:
        """Return the tokens/s of engines that run alone, and their covariance, to first order.

        Args:
            measured: rows of engines and their samples; at least one.
            wanted: the rows of the engines to return.
        """
        rows, prompt_s, token_s = self._times(measured)
        there, n_generate = np.array(wanted, dtype=np.intp), self.workload.n_generate
        prompt_mean_s, prompt_covariance = self._prompt.joint(rows, prompt_s, there)
        token_mean_s, token_covariance = self._token.joint(rows, token_s, there)
        rates = self.workload.n_counted / (prompt_mean_s + n_generate * token_mean_s)
        slopes = rates**2 / self.workload.n_counted  # of a rate, for each second that its workload takes less
        return rates, (prompt_covariance + n_generate**2 * token_covariance) * np.outer(slopes, slopes)

    def workload_s(self, samples: ModelSamples) -> float:
        """Return the seconds of one workload, from the medians of its parts."""
        return self._prompt_s(samples) + self.workload.n_generate * self._token_s(samples)

    def _nearest(self, other: EngineSettings) -> int | None:
        """Return the row of the engine most like `other`; None if no engine has as many layers on the device."""

        def distance(engine: EngineSettings) -> float:
            doublings = (abs(_doublings(engine, field) - _doublings(other, field)) for field in _DOUBLING)
            n_unlike = sum(getattr(engine, field) != getattr(other, field) for field in (*_CHOICES, *_COUNTS))
            return float(sum(doublings) + n_unlike)

        alike = [row for row, each in enumerate(self._canonical) if each.n_gpu_layers == other.n_gpu_layers]
        return min(alike, key=lambda row: distance(self._canonical[row]), default=None)

    def _times(self, measured: Sequence[tuple[int, ModelSamples]]) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Return the measured rows, the seconds of their prompts, and the seconds of each of their tokens."""
        return (
            np.array([row for row, _ in measured], dtype=np.intp),
            np.array([self._prompt_s(each) for _, each in measured]),
            np.array([self._token_s(each) for _, each in measured]),
        )

    def _prompt_s(self, samples: ModelSamples) -> float:
        return self.workload.n_prompt / median(samples.pp_tokens_per_s)

    def _token_s(self, samples: ModelSamples) -> float:
        return median(samples.tpot_s) if samples.tpot_s else self._prompt_s(samples)


def _contention(samples: Sequence[ModelSamples]) -> tuple[float, float]:
    """Return mean and standard deviation of the logarithm of the contention; without measurements, 0 and 1."""
    longer = [
        float(np.log(median(each.tokens_per_s) / median(each.tokens_per_s_together)))
        for each in samples
        if each.tokens_per_s_together
    ]
    if not longer:
        return 0.0, 1.0
    return mean(longer), max(pstdev(longer), _LEAST_CONTENTION_SPREAD)


def _features(engines: Sequence[EngineSettings], memory: EngineMemory, n_prompt: int) -> Features:
    """Return the features of engines; the host's share is of those weights of its file that the device could hold.

    The host's buffers take more than these weights, and not linearly: an input embedding of which each token reads one
    row, a mapped file from its first tensor to the last, and repacked copies. Batch sizes that hold a whole prompt of
    `n_prompt` tokens count as equal, since llama.cpp computes the prompt in one batch with any of them.
    """
    plans = [memory.plan(engine).on_devices for engine in engines]
    on_devices = np.array([[held.weights_bytes for held in each] for each in plans], dtype=float)
    on_device = on_devices.sum(axis=1)
    files = np.array([engine.file for engine in engines])
    most_bytes = np.ones(len(engines))
    for file in set(files):  # 0 in a space without any layer on the device
        most_bytes[files == file] = max(1.0, on_device[files == file].max())
    most = {"n_batch": n_prompt, "n_ubatch": n_prompt}
    columns = [np.array([_doublings(engine, field, most.get(field)) for engine in engines]) for field in _DOUBLING]
    for field in _CHOICES:
        chosen = [getattr(engine, field) for engine in engines]
        columns += [np.array([each == value for each in chosen], dtype=float) for value in sorted(set(chosen))[1:]]
    for field in _COUNTS:
        n_each = np.array([getattr(engine, field) for engine in engines], dtype=float)
        columns.append(n_each / max(1.0, n_each.max()))
    # The share of the weights on each further device; all of them count as much as another choice.
    columns += list(on_devices[:, 1:].T / most_bytes)
    varying = [column for column in columns if np.ptp(column) > 0]
    others = np.stack(varying, axis=1) if varying else np.zeros((len(engines), 0))
    layers = np.array([engine.n_gpu_layers for engine in engines], dtype=float)
    return Features(layers, 1 - on_device / most_bytes, others)


def _doublings(engine: EngineSettings, field: str, most: int | None = None) -> float:
    """Return the binary logarithm of a setting, at most that of `most`; of the threads of prompts, relative to the
    other threads."""
    if field == "n_threads_batch":
        return log2(engine.prompt_threads / engine.n_threads)
    number: int = getattr(engine, field)
    return log2(number if most is None else min(number, most))


def _weights(engines: Sequence[EngineSettings], memory: EngineMemory) -> Floats:
    """Return the bytes of each engine's file that are weights, relative to the largest file's."""
    of_file: dict[str, float] = {}
    for engine in engines:
        if engine.file not in of_file:
            of_file[engine.file] = sum(each.weights_bytes for each in memory.plan(engine).devices.values())
    if len(of_file) == 1:
        return np.ones(len(engines))
    return np.array([of_file[engine.file] for engine in engines]) / max(of_file.values())


def _leanest(features: Features, device_bytes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return one row for each set of equal features, which are equally fast: the engine with the fewest bytes."""
    order = np.argsort(device_bytes, kind="stable")
    keys = np.column_stack([features.n_layers, features.on_host, features.others])[order]
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.sort(order[first])


def measured_rows(
    models: Mapping[str, ModelEngines],
    trials: Sequence[tuple[SplitSettings, Mapping[str, ModelSamples]]],
) -> dict[str, list[tuple[int, ModelSamples]]]:
    """Return what was measured of each model: the row of each engine, and its samples."""
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
    prior: Mapping[str, Sequence[Observation]] = MappingProxyType({}),
) -> dict[str, ModelEngines]:
    """Return the engines of every model.

    Args:
        space: the settings of the study.
        feasible: their memory plan.
        workloads: by model.
        prior: by model, what another study measured.
    """
    return {
        name: ModelEngines(
            list(space.engines(name)),
            partial(space.canonical_engine, name),
            feasible.engine_bytes(name),
            feasible.planner.models[name],
            workloads[name],
            prior.get(name, ()),
        )
        for name in space.models
    }
