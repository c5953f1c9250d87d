"""Models on a device: their shapes, and what they take there. Nothing here loads a model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from layertune.config import DeviceChoice, StudyConfig
from layertune.devices.projection_cache import Projections
from layertune.devices.target import Target, find_target
from layertune.errors import ResultFileError
from layertune.memory import ModelMemory, Planner
from layertune.memory.plan import Overhead
from layertune.memory.planner import FilesMemory
from layertune.models import ModelShape, cached_shape, model_pooling
from layertune.settings import EngineSettings, model_and_file, variant
from layertune.units import MIB

if TYPE_CHECKING:
    from layertune.results.result import ModelInfo  # slower to import than an estimate takes

_NO_OVERHEAD = Overhead(0, "an emulated card has none")
_UNKNOWN_OVERHEAD = Overhead(None, "not measured yet: a search measures it")
# By backend, what a process took before it allocated anything, from docs/gpu.md. Other backends were not run.
_DEFAULT_OVERHEADS = {
    "CUDA": Overhead(524 * MIB, "not measured on this card yet: what an H200 takes", is_default=True),
}


@dataclass(frozen=True, slots=True)
class ModelsOnDevice:
    """What a memory plan needs.

    Attributes:
        shapes: each model's shape, by `variant`.
        target: the device.
        projections: llama.cpp's projections of their memory; missing ones are asked for.
        overhead: what the driver takes besides llama.cpp's buffers, per process.
        n_processes: how many server processes will hold the models.
    """

    shapes: dict[str, ModelShape]
    target: Target
    projections: Projections
    overhead: Overhead
    n_processes: int

    def vram_bytes(self, config: StudyConfig) -> tuple[int, ...]:
        """Return the budget of each device, its whole memory where the config has none; empty without a device."""
        if not self.target.devices:
            return ()
        return config.budget.each_device() or tuple(device.vram_bytes or 0 for device in self.target.devices)

    def budgets_bytes(self, config: StudyConfig) -> tuple[int, ...]:
        """Return what all models may take of each device, the margin kept free; empty without one."""
        return tuple(vram_bytes - config.budget.margin for vram_bytes in self.vram_bytes(config))

    def memories(self) -> "dict[str, ModelMemory | FilesMemory]":
        """Return each model's memory, by its name. Call `projections.learn` first: it asks for many settings at once.

        Raises:
            BuildError: llama.cpp cannot load a model, in its own words.
        """
        n_devices = max(1, len(self.target.devices))
        memories: dict[str, ModelMemory | FilesMemory] = {}
        for name, files in by_model(self.shapes).items():
            of_file = {
                file: ModelMemory(
                    shape, self.projections.inventory(key), partial(self.projections.project, key), n_devices
                )
                for file, (key, shape) in files.items()
            }
            memories[name] = of_file[""] if "" in of_file else FilesMemory(of_file)
        return memories

    def learn(self, engines: Mapping[str, Iterable[EngineSettings]]) -> None:
        """Ask llama.cpp what engines take, all at once; the answers are kept on disk.

        Args:
            engines: by model.

        Raises:
            BuildError: llama.cpp cannot load a model.
        """
        self.projections.learn(self._by_variant(engines))

    def n_missing(self, engines: Mapping[str, Iterable[EngineSettings]]) -> int:
        """Return for how many engines llama.cpp has not been asked what they take."""
        wanted = self._by_variant(engines)
        return sum(len(self.projections.missing(key, each)) for key, each in wanted.items())

    def shape(self, name: str, engine: EngineSettings) -> ModelShape:
        """Return the shape of the file that an engine of a model loads."""
        return self.shapes[variant(name, engine.file)]

    def _by_variant(self, engines: Mapping[str, Iterable[EngineSettings]]) -> dict[str, list[EngineSettings]]:
        found: dict[str, list[EngineSettings]] = {}
        for name, of_model in engines.items():
            for engine in of_model:
                found.setdefault(variant(name, engine.file), []).append(engine)
        return found

    def planner(self) -> Planner:
        """Return the planner; see `memories`."""
        return Planner(self.memories(), self.overhead, self.n_processes)


def by_model(shapes: Mapping[str, ModelShape]) -> dict[str, dict[str, tuple[str, ModelShape]]]:
    """Return by model and file's name the key of each shape, and the shape."""
    found: dict[str, dict[str, tuple[str, ModelShape]]] = {}
    for key, shape in shapes.items():
        name, file = model_and_file(key)
        found.setdefault(name, {})[file] = key, shape
    return found


def models_of(config: StudyConfig) -> ModelsOnDevice:
    """Read the models' headers and find the device.

    Raises:
        ModelFileError: a model cannot be read, or llama-server does not run it.
        DeviceError: the device is not here.
    """
    shapes = {key: cached_shape(path) for key, path in config.paths.items()}
    models = place_models(shapes, config.resolved_device(), config.emulated.n_threads, config.n_processes)
    if models.target.kind != "gpu":
        return models
    return replace(models, overhead=measured_overhead(models.target, Path("studies") / config.name))


def measured_overhead(gpu: Target, folder: Path) -> Overhead:
    """Return what the driver takes besides llama.cpp's buffers, as a study in `folder` measured it on this GPU."""
    from layertune.results.result import read_result  # slower to import than an estimate takes

    try:
        result = read_result(folder)
    except ResultFileError:
        return _unmeasured(gpu)
    plan = result.plan
    if plan is None or plan.n_trials == 0 or result.hardware.device.name != gpu.name:
        return _unmeasured(gpu)
    return Overhead(plan.overhead_bytes, f"the median of {plan.n_trials} trials in {folder}")


def _unmeasured(gpu: Target) -> Overhead:
    return _DEFAULT_OVERHEADS.get(gpu.backend or "", _UNKNOWN_OVERHEAD)


def place_models(
    shapes: dict[str, ModelShape], choice: DeviceChoice, emulated_n_threads: int | None, n_processes: int
) -> ModelsOnDevice:
    """Find the device, and check that it makes sense to plan these models.

    Raises:
        ModelFileError: llama-server does not run a model.
        DeviceError: the device is not here.
    """
    for shape in shapes.values():
        model_pooling(shape)
    target = find_target(choice, emulated_n_threads)
    overhead = _unmeasured(target) if target.kind == "gpu" else _NO_OVERHEAD
    return ModelsOnDevice(shapes, target, Projections(target, shapes), overhead, n_processes)


def is_measured_file(shape: ModelShape, model: "ModelInfo", *, is_skeleton: bool = False) -> bool:
    """Say whether a model here can be the one that a study measured, by all that a memory plan depends on.

    Args:
        shape: the model here.
        model: the model of the study's result.
        is_skeleton: `shape` is that of a known model and not of a file, so its file size is not compared.
    """
    same = (shape.architecture, shape.n_layer) == (model.architecture, model.n_layer)
    return same and (is_skeleton or shape.file_bytes == model.file_bytes)
