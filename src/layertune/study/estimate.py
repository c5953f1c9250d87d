"""What a setting takes, per model and device, before anything is loaded."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from layertune.config import StudyConfig, dimension_values
from layertune.config.model_config import DIMENSIONS
from layertune.memory import HOST, MemoryPlan, ModelMemory, Planner
from layertune.memory.buffers import resident_bytes
from layertune.memory.placement import TensorInventory
from layertune.settings import CACHE_TYPES, EngineSettings, SplitSettings, variant
from layertune.space.search_space import tensor_splits
from layertune.study.models_on_device import ModelsOnDevice
from layertune.tensor_split import parse_tensor_split

# Compute buffers take the room of a few layers. Where they take more, the other splits are a second question.
_N_AROUND = 4
_CHOSEN_APART = frozenset({"file", "n_gpu_layers", "tensor_split", "type_k", "type_v", CACHE_TYPES})


@dataclass(frozen=True, slots=True)
class Estimate:
    """The memory that settings take, and whether they fit.

    Attributes:
        settings: by model.
        plan: bytes by model and device.
        budgets_bytes: what may be taken of each device; empty without one.
        most_layers: by model, the largest n_gpu_layers that fits next to the other models; None where none does.
        ram_bytes: by model, what stays in the host's memory; None where it is not known.
        ram_limit_bytes: the limit for one model; None without one.
        shares_ram: whether the device's memory is the machine's RAM; then `most_layers` is empty, since moving layers
            frees nothing.
    """

    settings: SplitSettings
    plan: MemoryPlan
    budgets_bytes: tuple[int, ...]
    most_layers: Mapping[str, int | None]
    ram_bytes: Mapping[str, int | None]
    ram_limit_bytes: int | None
    shares_ram: bool = False

    @property
    def shared_bytes(self) -> int:
        """What the models keep on the host, if it counts against the device's budget; else 0."""
        return sum(n_bytes or 0 for n_bytes in self.ram_bytes.values()) if self.shares_ram else 0

    @property
    def budget_bytes(self) -> int | None:
        """The budget of all devices together, None without one."""
        return sum(self.budgets_bytes) if self.budgets_bytes else None

    def fits(self) -> bool | None:
        """Return the verdict over the devices' budgets and every model's RAM limit, None where a part is unknown."""
        left = [budget_bytes - self.shared_bytes for budget_bytes in self.budgets_bytes]
        on_device = self.plan.fits(*left) if left else True
        if on_device is None or None in self.ram_bytes.values():
            return None
        return on_device and not self.over_ram()

    def over_ram(self) -> dict[str, int]:
        """Return the models that exceed their RAM limit, and by how many bytes."""
        if self.ram_limit_bytes is None:
            return {}
        return {
            name: n_bytes - self.ram_limit_bytes
            for name, n_bytes in self.ram_bytes.items()
            if n_bytes is not None and n_bytes > self.ram_limit_bytes
        }


def estimate(config: StudyConfig, models: ModelsOnDevice, settings: SplitSettings | None = None) -> Estimate:
    """Plan these settings, or the config's. llama.cpp is asked once for everything that is needed.

    Raises:
        BuildError: llama.cpp cannot load a model.
    """
    settings = settings or estimated_settings(config, models)
    budgets_bytes = models.budgets_bytes(config)
    around = _around(models, settings, budgets_bytes) if budgets_bytes else {}
    models.learn({name: [engine, *splits(settings, name, around.get(name, ()))] for name, engine in settings.items()})
    planner = models.planner()
    plan = planner.plan(settings)
    most: dict[str, int | None] = dict.fromkeys(settings)
    if budgets_bytes:
        most = {name: _most_layers(models, planner, settings, name, budgets_bytes, around[name]) for name in settings}
    ram_bytes = {
        name: None
        if (on_host := model.devices[HOST].buffers()) is None
        else resident_bytes(on_host, models.shape(name, settings[name]).file_bytes)
        for name, model in plan.models.items()
    }
    shares_ram = any(device.shares_ram for device in models.target.devices)
    return Estimate(
        settings, plan, budgets_bytes, {} if shares_ram else most, ram_bytes, config.host.ram_per_model, shares_ram
    )


def estimated_settings(config: StudyConfig, models: ModelsOnDevice) -> SplitSettings:
    """Return the settings of a config that has all threads: the first values, and the largest n_gpu_layers."""
    offloads = models.target.kind != "cpu"
    engines = {}
    for name, model in config.models.items():
        file = next(iter(model.paths))
        n_layer = models.shapes[variant(name, file)].n_layer
        n_all = n_layer + 1
        fields = set(DIMENSIONS) - _CHOSEN_APART
        chosen = {field: dimension_values(getattr(model.space, field), n_all)[0] for field in fields}
        chosen["type_k"], chosen["type_v"] = model.cache_types[0]
        chosen["pooling"] = model.pooling or ""
        layers = max(dimension_values(model.space.n_gpu_layers, n_all)) if offloads else 0
        engine = EngineSettings(n_gpu_layers=layers, n_parallel=model.n_parallel, file=file, **chosen)
        # As it is written, not counted in layers, so that other numbers of layers are split by it too.
        written = [
            *map(parse_tensor_split, tensor_splits(model.space.tensor_split, models.budgets_bytes(config))),
            (),
        ]
        engines[name] = replace(engine.canonical(n_layer), tensor_split=written[0])
    return SplitSettings.of(engines)


def splits(settings: SplitSettings, name: str, n_gpu_layers: Iterable[int]) -> list[EngineSettings]:
    """Return one model's settings with these numbers of layers on the device."""
    return [settings.with_layers(name, layers)[name] for layers in n_gpu_layers]


def _around(models: ModelsOnDevice, settings: SplitSettings, budgets_bytes: Sequence[int]) -> dict[str, range]:
    """Return, for each model, a range of n_gpu_layers that probably holds the largest that fits.

    Weights and caches are known without llama.cpp and give an upper bound. Compute buffers cost a few layers more.
    """
    shapes = {name: models.shape(name, engine) for name, engine in settings.items()}
    unasked = {
        name: ModelMemory(shape, TensorInventory.plain(shape), lambda _key: None, len(budgets_bytes))
        for name, shape in shapes.items()
    }

    def held_bytes(name: str, n_gpu_layers: int) -> list[int]:
        planned = unasked[name].plan(settings.with_layers(name, n_gpu_layers)[name]).on_devices
        return [each.weights_bytes + (each.kv_bytes or 0) for each in planned]

    held = {name: held_bytes(name, engine.n_gpu_layers) for name, engine in settings.items()}
    around = {}
    for name, shape in shapes.items():
        others = [each for other, each in held.items() if other != name]
        rooms = [budget_bytes - sum(beside) for budget_bytes, *beside in zip(budgets_bytes, *others, strict=True)]

        def excess_bytes(n_gpu_layers: int, name: str = name, rooms: Sequence[int] = rooms) -> int:
            return max(n_bytes - room for n_bytes, room in zip(held_bytes(name, n_gpu_layers), rooms, strict=True))

        n_fitting = bisect_right(range(shape.n_layer + 2), 0, key=excess_bytes)
        around[name] = range(max(n_fitting - _N_AROUND, 0), n_fitting)
    return around


def _most_layers(
    models: ModelsOnDevice,
    planner: Planner,
    settings: SplitSettings,
    name: str,
    budgets_bytes: Sequence[int],
    around: range,
) -> int | None:
    """Return the largest n_gpu_layers that fits, None where none does. Values below `around` are tried last."""
    for among in (around, range(around.start)):
        models.learn({name: splits(settings, name, among)})
        most = planner.most_layers(settings, name, budgets_bytes, among)
        if most is not None:
            return most
    return None
