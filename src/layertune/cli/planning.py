"""The planner of a study, wired: its models' shapes, the device, and llama.cpp's projections."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.config import StudyConfig
from layertune.devices.inspection import Inspection, inspect, remembered_build
from layertune.devices.projections import Projections
from layertune.devices.target import Target, resolve_here
from layertune.memory import ModelMemory, Planner
from layertune.memory.plan import Overhead
from layertune.models import ModelShape, remembered_shape

_NO_OVERHEAD = Overhead(0, "an emulated card has none")
_UNKNOWN_OVERHEAD = Overhead(None, "not measured yet: a search measures it")


@dataclass(frozen=True, slots=True)
class Planning:
    """All that a plan needs; nothing of it loads a model."""

    shapes: dict[str, ModelShape]
    target: Target
    inspection: Inspection
    projections: Projections
    planner: Planner


def plan_study(config: StudyConfig) -> Planning:
    """Read the models' headers and find the device.

    Raises:
        ModelFileError: a model cannot be read.
        DeviceError: the device is not here.
    """
    shapes = {name: remembered_shape(model.path) for name, model in config.models.items()}
    choice = config.resolved_device()
    # Only a GPU can have changed since the last time.
    has_gpus = choice.kind in ("auto", "gpu")
    inspection = inspect() if has_gpus else Inspection(remembered_build(), ())
    target = resolve_here(choice, config.emulated.n_threads, inspection)
    projections = Projections(target, inspection.build, shapes)
    overhead = _UNKNOWN_OVERHEAD if target.kind == "gpu" else _NO_OVERHEAD
    return Planning(shapes, target, inspection, projections, make_planner(shapes, projections, overhead))


def make_planner(shapes: Mapping[str, ModelShape], projections: Projections, overhead: Overhead) -> Planner:
    models = {
        name: ModelMemory(shape, projections.anatomy(name), lambda key, name=name: projections.project(name, key))
        for name, shape in shapes.items()
    }
    return Planner(models, overhead)
