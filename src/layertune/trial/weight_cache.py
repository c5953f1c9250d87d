"""The weights that a worker keeps from one trial to the next while their placement is the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from layertune.devices.open_device import OpenDevice
from layertune.engine.model import Model
from layertune.memory.buffers import HOST, BufferBytes
from layertune.trial.messages import ModelTask


@dataclass(frozen=True, slots=True)
class _Weights:
    load: tuple[object, ...]
    model: Model
    load_s: float


class WeightCache:
    """The weights that a worker holds on its device, by model name."""

    def __init__(self, device: OpenDevice) -> None:
        self._device = device
        self._weights: dict[str, _Weights] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The models whose weights are loaded, in the order of loading."""
        return tuple(self._weights)

    def keep(self, tasks: Sequence[ModelTask]) -> None:
        """Free all weights but those that `tasks` use with the same file and placement."""
        wanted = {task.name: _load(task) for task in tasks}
        for name, weights in list(self._weights.items()):
            if wanted.get(name) != weights.load:
                weights.model.close()
                del self._weights[name]
        self._device.settle()

    def model(self, task: ModelTask) -> Model:
        """Return the task's model, and load it if it is not in memory.

        Raises:
            EngineRefused: llama.cpp does not load it.
        """
        if task.name not in self._weights:
            settings, started_s = task.settings, perf_counter()
            model = Model(
                Path(task.path),
                settings.n_gpu_layers,
                self._device.devices(task.name),
                tensor_split=settings.tensor_split,
                host_tensors=settings.placement.host_tensors,
            )
            self._weights[task.name] = _Weights(_load(task), model, perf_counter() - started_s)
        return self._weights[task.name].model

    def load_s(self, name: str) -> float:
        """Return how long a model's weights took to load, in seconds."""
        return self._weights[name].load_s

    def device_bytes(self) -> int:
        """Return the bytes of the weights on all devices, as llama.cpp logged them."""
        return sum(device_bytes(weights.model.buffers) for weights in self._weights.values())

    def bytes_on(self, device: str) -> int:
        """Return the bytes of the weights on one device, like `"gpu1"`."""
        return bytes_on(device, [weights.model.buffers for weights in self._weights.values()])


def _load(task: ModelTask) -> tuple[object, ...]:
    """Return a key that is equal for two identical loads of a model."""
    return task.path, task.settings.placement


def device_bytes(buffers: Mapping[str, BufferBytes]) -> int:
    """Return one model's bytes on all devices except the host."""
    return sum(held.total_bytes for device, held in buffers.items() if device != HOST)


def bytes_on(device: str, buffers: Iterable[Mapping[str, BufferBytes]]) -> int:
    """Return the bytes of several models' buffers on one device."""
    return sum(held[device].total_bytes for held in buffers if device in held)
