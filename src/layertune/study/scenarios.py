"""Someone's own estimates of memory, next to the plan."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layertune.config.scenario_file import Scenario, ScenarioConfig, ScenarioFile
from layertune.errors import UsageError
from layertune.memory import GPU, BufferBytes, EngineMemory
from layertune.models import ModelShape, cached_shape
from layertune.models.known_models import find_known
from layertune.models.standin import standin_skeleton
from layertune.regular_files import is_there
from layertune.settings import EngineSettings
from layertune.study.models_on_device import place_models


@dataclass(frozen=True, slots=True)
class Held:
    """One model of one scenario: the bytes its author expected on the device, and the planned bytes."""

    name: str
    n_gpu_layers: int
    n_all_layers: int
    expected_bytes: int | None
    planned: BufferBytes


@dataclass(frozen=True, slots=True)
class Judged:
    """One scenario. `planned_bytes` are llama.cpp's buffers; `overhead_bytes` is the author's figure for the driver."""

    name: str
    models: tuple[Held, ...]
    expected_bytes: int | None
    verdict: str | None
    planned_bytes: int
    overhead_bytes: int
    budget_bytes: int

    @property
    def spare_bytes(self) -> int:
        return self.budget_bytes - self.planned_bytes

    @property
    def spare_with_overhead_bytes(self) -> int:
        return self.spare_bytes - self.overhead_bytes

    @property
    def fits(self) -> str:
        return (
            "fits" if self.spare_with_overhead_bytes >= 0 else "fits without" if self.spare_bytes >= 0 else "too much"
        )

    def as_json(self) -> dict[str, Any]:
        spare = {"spare_bytes": self.spare_bytes, "spare_with_overhead_bytes": self.spare_with_overhead_bytes}
        return asdict(self) | spare


@dataclass(frozen=True, slots=True)
class Sized:
    """One model file: its size and its VRAM with all layers, as expected and as planned."""

    name: str
    expected_file_bytes: int | None
    file_bytes: int
    expected_vram_bytes: int | None
    planned_bytes: int


def judge(config: ScenarioConfig, folder: Path) -> tuple[list[Judged], list[Sized]]:
    """Plan every scenario, and every file with all its layers on the device.

    Raises:
        ModelFileError: a model cannot be read.
        UsageError: a file is missing and its model is not known, the device is none, or llama.cpp refuses the settings.
    """
    shapes = {name: _shape(file, folder) for name, file in config.files.items()}
    if config.resolved_device().n_devices > 1:
        raise UsageError(f"scenarios are of one device, and {config.device} is several", remedy="choose one of them")
    models = place_models(shapes, config.resolved_device(), 1, 1)
    if models.target.vram_bytes is None:
        raise UsageError(
            f"{config.device} has no memory of its own to fit into", remedy="choose emulated:6GiB or gpu:0"
        )
    layers = {name: {shape.n_layer + 1} for name, shape in shapes.items()}
    for scenario in config.scenarios:
        for model in scenario.models.values():
            layers[model.file].add(min(model.n_gpu_layers, shapes[model.file].n_layer + 1))
    models.projections.learn({name: [_engine(config, each) for each in wanted] for name, wanted in layers.items()})
    memories = models.planner().models
    scenarios = [_judged(config, scenario, shapes, memories, models.target.vram_bytes) for scenario in config.scenarios]
    sizes = [
        Sized(
            name,
            file.file,
            shapes[name].file_bytes,
            file.vram,
            _on_device(memories[name], _engine(config, shapes[name].n_layer + 1)).total_bytes,
        )
        for name, file in config.files.items()
    ]
    return scenarios, sizes


def _judged(
    config: ScenarioConfig,
    scenario: Scenario,
    shapes: dict[str, ModelShape],
    memories: Mapping[str, EngineMemory],
    budget_bytes: int,
) -> Judged:
    held = tuple(
        Held(
            name,
            min(model.n_gpu_layers, shapes[model.file].n_layer + 1),
            shapes[model.file].n_layer + 1,
            model.expected,
            _on_device(memories[model.file], _engine(config, model.n_gpu_layers)),
        )
        for name, model in scenario.models.items()
    )
    return Judged(
        scenario.name,
        held,
        scenario.expected,
        scenario.verdict,
        sum(each.planned.total_bytes for each in held),
        config.overhead,
        budget_bytes,
    )


def _shape(file: ScenarioFile, folder: Path) -> ModelShape:
    path = folder / file.path if file.path is not None else None
    if path is not None and is_there(path):
        return cached_shape(path)
    return cached_shape(standin_skeleton(find_known(file.model)))


def _engine(config: ScenarioConfig, n_gpu_layers: int) -> EngineSettings:
    settings = config.settings
    return EngineSettings(
        n_gpu_layers=n_gpu_layers, n_ctx=settings.n_ctx, n_batch=settings.n_batch, n_ubatch=512, n_threads=1
    )


def _on_device(memory: EngineMemory, engine: EngineSettings) -> BufferBytes:
    held = memory.plan(engine).devices[GPU].buffers()
    if held is None:
        raise UsageError(
            f"llama.cpp creates no context of {engine.n_ctx} tokens for a model of these scenarios",
            remedy="change settings.n_ctx",
        )
    return held
