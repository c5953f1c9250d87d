"""Models in memory: weights stay from one trial to the next while their split is the same, contexts do not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from layertune.devices.opened import OpenDevice
from layertune.engine import timing
from layertune.engine.context import Context, Tokens
from layertune.engine.model import Model, expert_tensors
from layertune.memory.buffers import HOST, BufferBytes
from layertune.trial.messages import ModelTask

_N_WARM_UP_TOKENS = 4

# Enough to tell the time of a token that waits for another model's prompt, which may be a hundred times its own.
_N_FIRST_TOKENS = 2


@dataclass(frozen=True, slots=True)
class _Weights:
    load: tuple[object, ...]
    model: Model
    load_s: float


@dataclass(slots=True)
class Loaded:
    """One model of a trial, ready to run. `load_s` is its weights' load, whenever that was, and its context's."""

    task: ModelTask
    model: Model
    context: Context
    load_s: float
    generator: np.random.Generator

    @property
    def name(self) -> str:
        return self.task.name

    def run(self) -> timing.Timing:
        return timing.run(self.context, self._request(self.task.n_prompt, self.task.n_generate))

    def run_first_tokens(self) -> timing.Timing:
        """Run the workload's prompt and the first tokens of its answer."""
        return timing.run(self.context, self._request(self.task.n_prompt, min(self.task.n_generate, _N_FIRST_TOKENS)))

    def fill_buffers(self) -> None:
        """One full physical batch, the largest graph there is, then a few tokens: buffers can still grow there."""
        n_prompt = min(self.task.settings.n_ubatch, self._n_ctx_slot() - _N_WARM_UP_TOKENS)
        timing.run(self.context, self._request(n_prompt, _N_WARM_UP_TOKENS))

    def long_prompt(self) -> Tokens:
        """Return a prompt that fills a whole slot."""
        return self._request(self._n_ctx_slot(), 0).prompt

    def buffers(self) -> dict[str, BufferBytes]:
        weights, rest = self.model.buffers, self.context.buffers
        return {
            device: weights.get(device, BufferBytes()) + rest.get(device, BufferBytes())
            for device in {**weights, **rest}
        }

    def _n_ctx_slot(self) -> int:
        return self.task.settings.n_ctx // self.task.settings.n_parallel

    def _request(self, n_prompt: int, n_generate: int) -> timing.Request:
        return timing.Request.random(n_prompt, n_generate, self.model.n_vocab, self.generator)


class Residents:
    """The weights that a worker holds on its device, by model."""

    def __init__(self, device: OpenDevice) -> None:
        self._device = device
        self._weights: dict[str, _Weights] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._weights)

    def keep(self, tasks: Sequence[ModelTask]) -> None:
        """Free every model that `tasks` do not run with the same split."""
        wanted = {task.name: _load(task) for task in tasks}
        for name, weights in list(self._weights.items()):
            if wanted.get(name) != weights.load:
                weights.model.close()
                del self._weights[name]
        self._device.settle()

    def model(self, task: ModelTask) -> Model:
        """Return the task's model, loaded unless it is there; raises EngineRefused where llama.cpp does not load it."""
        if task.name not in self._weights:
            settings, started_s = task.settings, perf_counter()
            model = Model(
                Path(task.path),
                settings.n_gpu_layers,
                self._device.devices(task.name),
                tensor_split=settings.tensor_split,
                host_tensors=expert_tensors(settings.n_cpu_moe),
            )
            self._weights[task.name] = _Weights(_load(task), model, perf_counter() - started_s)
        return self._weights[task.name].model

    def load_s(self, name: str) -> float:
        """Return how long a model's weights took to load when they were."""
        return self._weights[name].load_s

    def device_bytes(self) -> int:
        """Return what the weights take of all devices by llama.cpp's own figures."""
        return sum(device_bytes(weights.model.buffers) for weights in self._weights.values())

    def bytes_on(self, device: str) -> int:
        """Return what they take of one device, like `"gpu1"`."""
        return bytes_on(device, [weights.model.buffers for weights in self._weights.values()])


def _load(task: ModelTask) -> tuple[object, ...]:
    """Return what makes two loads of a model the same."""
    return task.path, task.settings.placement


def device_bytes(buffers: Mapping[str, BufferBytes]) -> int:
    """Return the total of every device but the host."""
    return sum(held.total_bytes for device, held in buffers.items() if device != HOST)


def bytes_on(device: str, buffers: Iterable[Mapping[str, BufferBytes]]) -> int:
    """Return what several models' buffers take of one device."""
    return sum(held[device].total_bytes for held in buffers if device in held)
