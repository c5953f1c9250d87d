"""Computes the `MemoryPlan` of a setting."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from typing import Protocol

from layertune.errors import UsageError
from layertune.memory.buffers import HOST, LOG_ERROR_BYTES, device_name
from layertune.memory.kv_cache import checkpoint_bytes, layer_bytes
from layertune.memory.layer_rows import LayerRows, heads_kv, layer_rows
from layertune.memory.placement import TensorInventory, layer_devices
from layertune.memory.plan import MemoryPlan, ModelPlan, Overhead, PlannedBytes, Source
from layertune.memory.projection import CacheTotal, Projection, Projector
from layertune.memory.weight_bytes import Weights, WeightsUsed
from layertune.models import ModelShape
from layertune.settings import EngineSettings, SplitSettings


class ModelMemory:
    """One model's memory as a function of its settings."""

    def __init__(self, shape: ModelShape, inventory: TensorInventory, project: Projector, n_devices: int = 1) -> None:
        self.n_layer = shape.n_layer
        self._devices = tuple(map(device_name, range(n_devices)))
        self._rows: tuple[LayerRows, ...] | None = layer_rows(shape)
        self._heads_kv = heads_kv(shape)
        self._weights = Weights(shape, inventory)
        self._alignment_bytes = inventory.alignment_bytes
        self._project = project

    def plan(self, settings: EngineSettings) -> ModelPlan:
        """Return the plan of these settings; they need not be canonical.

        Raises:
            UsageError: `tensor_split` does not have one part for each device.
        """
        key = settings.memory_key(self.n_layer)
        self._check(key)
        projection = self._project(key)
        weights = self._weights.split(key.placement)
        kv, kv_source = self._kv(key, projection)
        n_logged = 1
        if projection is not None and kv_source == "llama.cpp":
            n_logged += _n_logged_sizes(projection)
        compute = projection.compute_bytes if projection is not None else None
        devices = {
            device: PlannedBytes(
                weights_bytes=weights.get(device, 0),
                kv_bytes=None if kv is None else kv.get(device, 0),
                compute_bytes=None if compute is None else compute.get(device, 0),
                output_bytes=_output_bytes(device, projection),
            )
            for device in (*self._devices, HOST)
        }
        flash_attn = projection.flash_attn if projection is not None else None
        return ModelPlan(devices, kv_source, flash_attn, n_logged, self._checkpoint_bytes(key, flash_attn))

    def _checkpoint_bytes(self, key: EngineSettings, flash_attn: bool | None) -> int | None:
        """Return the bytes of a context checkpoint, None for an architecture whose caches only llama.cpp knows."""
        if self._rows is None:
            return None
        return checkpoint_bytes(self._rows, key, flash_attn=key.flash_attn != "off" and flash_attn is not False)

    def weights_used(self, settings: EngineSettings) -> dict[str, WeightsUsed]:
        """Return the weights that a forward pass with these settings uses, by device."""
        return self._weights.used(settings.canonical(self.n_layer).placement)

    def _kv(self, key: EngineSettings, projection: Projection | None) -> tuple[dict[str, int] | None, Source | None]:
        """Return the bytes of caches and states by device, and their source: layertune's rules if they are known and
        agree with llama.cpp's log, otherwise the log."""
        n_gpu_layers = key.n_gpu_layers if key.kv_offload == "on" else 0
        devices = layer_devices(self.n_layer, n_gpu_layers, key.tensor_split)
        if self._rows is not None:
            flash_attn = key.flash_attn != "off" and (projection is None or projection.flash_attn is not False)
            layers = layer_bytes(self._rows, key, flash_attn=flash_attn, alignment_bytes=self._alignment_bytes)
            if projection is None or _agree(sum(layers), projection):
                return _sums(zip(devices, layers, strict=False)), "computed"
        if projection is None:
            return None, None
        caches = chain.from_iterable(
            _shares(cache, devices, self._heads_kv, flash_attn=projection.flash_attn) for cache in projection.caches
        )
        return _sums(chain(projection.state_bytes.items(), caches)), "llama.cpp"

    def _check(self, key: EngineSettings) -> None:
        """Check that layers on several devices have a split: without one llama.cpp splits them by the memory that is
        free at the time, which no plan can know."""
        n_split, n_devices = max(1, len(key.tensor_split)), len(self._devices)
        if key.n_gpu_layers > 0 and n_split != n_devices:
            raise UsageError(
                f"{key.n_gpu_layers} layers are split over {n_split} of {n_devices} devices",
                remedy="give tensor_split a part for each device",
            )


class EngineMemory(Protocol):
    """Plans one model's memory: `ModelMemory` computes it, a recorded table has it stored."""

    def plan(self, settings: EngineSettings) -> ModelPlan: ...


@dataclass(frozen=True, slots=True)
class FilesMemory:
    """The memory of a model with several files, each by the file's name."""

    of_file: Mapping[str, ModelMemory]

    def plan(self, settings: EngineSettings) -> ModelPlan:
        """Return the plan of these settings with the file that they name."""
        return self.of_file[settings.file].plan(replace(settings, file=""))

    def weights_used(self, settings: EngineSettings) -> dict[str, WeightsUsed]:
        """As `ModelMemory.weights_used`."""
        return self.of_file[settings.file].weights_used(replace(settings, file=""))


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the memory of all models of a study on its devices."""

    models: Mapping[str, EngineMemory]
    overhead: Overhead
    n_processes: int

    def plan(self, settings: SplitSettings) -> MemoryPlan:
        plans = {name: self.models[name].plan(engine) for name, engine in settings.items()}
        return MemoryPlan(plans, self.overhead, self.n_processes)

    def most_layers(
        self, settings: SplitSettings, model: str, budgets_bytes: Sequence[int], among: Sequence[int]
    ) -> int | None:
        """Return the largest n_gpu_layers of `model` that fits next to the others' unchanged settings, None if none
        does."""
        for n_gpu_layers in sorted(among, reverse=True):
            if self.plan(settings.with_layers(model, n_gpu_layers)).fits(*budgets_bytes):
                return n_gpu_layers
        return None


def _shares(
    cache: CacheTotal, devices: Sequence[str], heads_kv: Sequence[int], *, flash_attn: bool | None
) -> Iterator[tuple[str, int]]:
    """Yield the bytes of a cache on each device: its totals, divided among its layers as in src/llama-kv-cache.cpp.

    All heads of one cache have the same size, so a layer's share is in proportion to its key-value heads. An indexer
    has one head in every layer. Without flash attention, V has the widest layer's row in all layers. If llama.cpp did
    not report whether it uses flash attention, each device gets the larger of the two.
    """
    equal = [1] * len(cache.layers)
    by_heads = [heads_kv[layer] for layer in cache.layers]
    if cache.is_indexer or not any(by_heads):
        by_heads = equal
    v_weights = {True: [by_heads], False: [equal], None: [by_heads, equal]}[flash_attn]
    for device in dict.fromkeys(devices[layer] for layer in cache.layers):
        is_there = [devices[layer] == device for layer in cache.layers]
        v_bytes = max(_share(cache.v_bytes, weights, is_there) for weights in v_weights)
        yield device, _share(cache.k_bytes, by_heads, is_there) + v_bytes


def _share(n_bytes: int, weights: Sequence[int], is_there: Sequence[bool]) -> int:
    """Return the part of `n_bytes` that belongs to the layers marked in `is_there`."""
    return round(n_bytes * sum(compress(weights, is_there)) / sum(weights))


def _sums(parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up bytes by device."""
    sums: dict[str, int] = {}
    for device, n_bytes in parts:
        sums[device] = sums.get(device, 0) + n_bytes
    return sums


def _output_bytes(device: str, projection: Projection | None) -> int | None:
    """Return the bytes of one step's logits. They are on the host, in memory that the device copies to
    (llama-context.cpp)."""
    if device != HOST:
        return 0
    return None if projection is None else projection.output_bytes


def _agree(computed_bytes: int, projection: Projection) -> bool:
    """Return whether the computed sum is within the rounding error of llama.cpp's log. If not, the rules here are
    wrong."""
    logged_bytes = sum(cache.n_bytes for cache in projection.caches) + sum(projection.state_bytes.values())
    return abs(computed_bytes - logged_bytes) <= _n_logged_sizes(projection) * LOG_ERROR_BYTES


def _n_logged_sizes(projection: Projection) -> int:
    """Return how many sizes in llama.cpp's log all caches and states have: K and V are logged separately."""
    return 2 * len(projection.caches) + len(projection.state_bytes)
