"""layertune estimate: what a setting takes, per model and device, before anything is loaded."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from layertune.cli.console import show_json
from layertune.cli.overrides import Overrides, study_config
from layertune.cli.planning import Planning, plan_study
from layertune.config import StudyConfig, dimension_values
from layertune.devices.hardware import n_usable_cores
from layertune.memory import HOST, MemoryPlan, ModelMemory, ModelPlan, Planner
from layertune.memory.buffers import resident_bytes
from layertune.memory.plan import add
from layertune.memory.projection import Anatomy
from layertune.search.tensor_splits import tensor_splits
from layertune.settings import EngineSettings, SplitSettings, parse_tensor_split

# Compute buffers take the room of a few layers. Where they take more, the other splits are a second question.
_N_AROUND = 4
_FIELDS = ("n_ctx", "n_batch", "n_ubatch", "flash_attn", "type_k", "type_v", "n_cpu_moe")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What `layertune estimate` says. `budgets_bytes` of each device, empty without one; `most_layers` by model, None
    where no split fits; `ram_bytes` by model."""

    settings: SplitSettings
    plan: MemoryPlan
    budgets_bytes: tuple[int, ...]
    most_layers: Mapping[str, int | None]
    ram_bytes: Mapping[str, int | None]
    ram_limit_bytes: int | None

    @property
    def budget_bytes(self) -> int | None:
        """The budget of all devices together, None without one."""
        return sum(self.budgets_bytes) if self.budgets_bytes else None

    def fits(self) -> bool | None:
        """Return the verdict over the devices' budgets and every model's RAM limit, None where a part is unknown."""
        on_device = self.plan.fits(*self.budgets_bytes) if self.budgets_bytes else True
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


def run(config_path: Path | None, overrides: Overrides, *, as_json: bool) -> None:
    config = study_config(config_path, overrides)
    planning = plan_study(config)
    found = estimate(config, planning)
    if as_json:
        show_json(_json(found))
    else:
        from layertune.cli.estimate_table import print_estimate  # the JSON needs no rich

        print_estimate(planning, found)


def estimate(config: StudyConfig, planning: Planning) -> Estimate:
    """Plan the config's settings, asking llama.cpp once for all that is needed."""
    settings, budgets_bytes = estimated_settings(config, planning), planning.budgets_bytes(config)
    around = _around(planning, settings, budgets_bytes) if budgets_bytes else {}
    planning.projections.learn(
        {name: [engine, *splits(settings, name, around.get(name, ()))] for name, engine in settings.items()}
    )
    planner = planning.planner()
    plan = planner.plan(settings)
    most: dict[str, int | None] = dict.fromkeys(settings)
    if budgets_bytes:
        most = {name: _most_layers(planning, planner, settings, name, budgets_bytes, around[name]) for name in settings}
    ram_bytes = {
        name: None
        if (on_host := model.devices[HOST].buffers()) is None
        else resident_bytes(on_host, planning.shapes[name].file_bytes)
        for name, model in plan.models.items()
    }
    return Estimate(settings, plan, budgets_bytes, most, ram_bytes, config.host.ram_per_model)


def estimated_settings(config: StudyConfig, planning: Planning) -> SplitSettings:
    """Of a dimension with several values the first counts, of n_gpu_layers the most: does all of it fit?"""
    offloads = planning.target.kind != "cpu"
    n_threads = config.host.n_cpus_of(n_usable_cores())
    engines = {}
    for name, model in config.models.items():
        n_all = planning.shapes[name].n_layer + 1
        chosen = {field: dimension_values(getattr(model.space, field), n_all)[0] for field in _FIELDS}
        layers = max(dimension_values(model.space.n_gpu_layers, n_all)) if offloads else 0
        engine = EngineSettings(n_gpu_layers=layers, n_threads=n_threads, n_parallel=model.n_parallel, **chosen)
        # As it is written, not counted in layers, so that other numbers of layers are split by it too.
        written = [
            *map(parse_tensor_split, tensor_splits(model.space.tensor_split, planning.budgets_bytes(config))),
            (),
        ]
        engines[name] = replace(engine.canonical(planning.shapes[name].n_layer), tensor_split=written[0])
    return SplitSettings.of(engines)


def splits(settings: SplitSettings, name: str, n_gpu_layers: Iterable[int]) -> list[EngineSettings]:
    """Return one model's settings with these numbers of layers on the device."""
    return [settings.with_layers(name, layers)[name] for layers in n_gpu_layers]


def _around(planning: Planning, settings: SplitSettings, budgets_bytes: Sequence[int]) -> dict[str, range]:
    """Return the splits of each model among which the largest that fits probably is.

    Weights and caches, which are known without llama.cpp, bound it from above; compute buffers cost a few layers.
    """
    unasked = {
        name: ModelMemory(shape, Anatomy.plain(shape), lambda _key: None, len(budgets_bytes))
        for name, shape in planning.shapes.items()
    }

    def held_bytes(name: str, n_gpu_layers: int) -> list[int]:
        planned = unasked[name].plan(settings.with_layers(name, n_gpu_layers)[name]).on_devices
        return [each.weights_bytes + (each.kv_bytes or 0) for each in planned]

    held = {name: held_bytes(name, engine.n_gpu_layers) for name, engine in settings.items()}
    around = {}
    for name, shape in planning.shapes.items():
        others = [each for other, each in held.items() if other != name]
        rooms = [budget_bytes - sum(beside) for budget_bytes, *beside in zip(budgets_bytes, *others, strict=True)]

        def excess_bytes(n_gpu_layers: int, name: str = name, rooms: Sequence[int] = rooms) -> int:
            return max(n_bytes - room for n_bytes, room in zip(held_bytes(name, n_gpu_layers), rooms, strict=True))

        n_fitting = bisect_right(range(shape.n_layer + 2), 0, key=excess_bytes)
        around[name] = range(max(n_fitting - _N_AROUND, 0), n_fitting)
    return around


def _most_layers(
    planning: Planning,
    planner: Planner,
    settings: SplitSettings,
    name: str,
    budgets_bytes: Sequence[int],
    around: range,
) -> int | None:
    """Return the most layers that fit, None where none do. The splits below `around` are asked for only if need be."""
    for among in (around, range(around.start)):
        planning.projections.learn({name: splits(settings, name, among)})
        most = planner.most_layers(settings, name, budgets_bytes, among)
        if most is not None:
            return most
    return None


def _json(found: Estimate) -> dict[str, Any]:
    plan = found.plan
    return {
        "models": {
            name: {
                "settings": found.settings[name].as_dict(),
                "devices": _devices_json(model, plan.overhead.n_bytes),
                "kv_source": model.kv_source,
                "most_gpu_layers": found.most_layers[name],
                "ram_bytes": found.ram_bytes[name],
            }
            for name, model in plan.models.items()
        },
        "total": {device: plan.needed_on(device) for device in plan.devices} | {HOST: plan.host_bytes},
        "overhead": {**asdict(plan.overhead), "n_processes": plan.n_processes},
        "budget_bytes": found.budget_bytes,
        **({"budgets_bytes": list(found.budgets_bytes)} if len(found.budgets_bytes) > 1 else {}),
        "ram_per_model_bytes": found.ram_limit_bytes,
        "fits": found.fits(),
    }


def _devices_json(model: ModelPlan, overhead_bytes: int | None) -> dict[str, dict[str, int | None]]:
    """Each model's process takes the device's overhead; an unknown one is None and in no sum."""
    devices = {}
    for device, planned in model.devices.items():
        beside_bytes = overhead_bytes if device != HOST else 0
        total_bytes = add((planned.total_bytes, beside_bytes or 0))
        devices[device] = {**asdict(planned), "overhead_bytes": beside_bytes, "total_bytes": total_bytes}
    return devices
