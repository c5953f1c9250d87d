"""From settings to a `MemoryPlan`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from layertune.memory.buffers import GPU, HOST, LOG_ERROR_BYTES
from layertune.memory.cache import layer_bytes
from layertune.memory.layers import LayerRows, layer_rows
from layertune.memory.plan import MemoryPlan, ModelPlan, Overhead, PlannedBytes, Source
from layertune.memory.projection import Anatomy, Projection, Projector
from layertune.memory.weights import Weights
from layertune.models import ModelShape
from layertune.settings import EngineSettings, SplitSettings


class ModelMemory:
    """One model's memory as a function of its settings."""

    def __init__(self, shape: ModelShape, anatomy: Anatomy, project: Projector) -> None:
        self.n_layer = shape.n_layer
        self._rows: tuple[LayerRows, ...] | None = layer_rows(shape)
        self._weights = Weights(shape, anatomy)
        self._alignment_bytes = anatomy.alignment_bytes
        self._project = project

    def plan(self, settings: EngineSettings) -> ModelPlan:
        """Return the plan of these settings; they need not be canonical."""
        key = settings.memory_key(self.n_layer)
        projection = self._project(key)
        weights = self._weights.split(key.n_gpu_layers, key.n_cpu_moe)
        kv, kv_source = self._kv(key, projection)
        compute = projection.compute_bytes if projection is not None else None
        devices = {
            device: PlannedBytes(
                weights_bytes=weights[device],
                kv_bytes=None if kv is None else kv[device],
                compute_bytes=None if compute is None else compute.get(device, 0),
                output_bytes=_output_bytes(device, projection),
            )
            for device in (GPU, HOST)
        }
        return ModelPlan(devices, kv_source, projection.flash_attn if projection is not None else None)

    def _kv(self, key: EngineSettings, projection: Projection | None) -> tuple[dict[str, int] | None, Source | None]:
        """Our rules where they are known and llama.cpp does not contradict them, else llama.cpp's own figures."""
        first = self.n_layer + 1 - key.n_gpu_layers  # the first layer on the device
        if self._rows is not None:
            flash_attn = key.flash_attn != "off" and (projection is None or projection.flash_attn is not False)
            layers = layer_bytes(self._rows, key, flash_attn=flash_attn, alignment_bytes=self._alignment_bytes)
            if projection is None or _agree(sum(layers), projection):
                return {GPU: sum(layers[first:]), HOST: sum(layers[:first])}, "computed"
        if projection is None:
            return None, None
        kv = dict.fromkeys((GPU, HOST), 0)
        for device, n_bytes in projection.state_bytes.items():
            kv[device] += n_bytes
        for cache in projection.caches:
            n_on_device = sum(layer >= first for layer in cache.layers)
            on_device = round(cache.n_bytes * n_on_device / max(len(cache.layers), 1))
            kv[GPU] += on_device
            kv[HOST] += cache.n_bytes - on_device
        return kv, "llama.cpp"


class EngineMemory(Protocol):
    """Knows what one model takes: `ModelMemory` computes it, a recorded table remembers it."""

    def plan(self, settings: EngineSettings) -> ModelPlan: ...


@dataclass(frozen=True, slots=True)
class Planner:
    """All models of a study on one device."""

    models: Mapping[str, EngineMemory]
    overhead: Overhead
    n_processes: int

    def plan(self, settings: SplitSettings) -> MemoryPlan:
        plans = {name: self.models[name].plan(engine) for name, engine in settings.items()}
        return MemoryPlan(plans, self.overhead, self.n_processes)

    def most_layers(self, settings: SplitSettings, model: str, budget_bytes: int, among: Sequence[int]) -> int | None:
        """Return the largest n_gpu_layers of `model` that fits beside the others as they are; None where none does."""
        for n_gpu_layers in sorted(among, reverse=True):
            if self.plan(settings.with_layers(model, n_gpu_layers)).fits(budget_bytes):
                return n_gpu_layers
        return None


def _output_bytes(device: str, projection: Projection | None) -> int | None:
    """The logits of one step lie on the host, in memory that the device can copy to (llama-context.cpp)."""
    if device != HOST:
        return 0
    return None if projection is None else projection.output_bytes


def _agree(computed_bytes: int, projection: Projection) -> bool:
    """Where our sum is further off than llama.cpp's log can be, its rules are not ours: it logs K and V apart."""
    logged_bytes = sum(cache.n_bytes for cache in projection.caches) + sum(projection.state_bytes.values())
    n_figures = 2 * len(projection.caches) + len(projection.state_bytes)
    return abs(computed_bytes - logged_bytes) <= n_figures * LOG_ERROR_BYTES
