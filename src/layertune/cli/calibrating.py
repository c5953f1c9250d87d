"""From a study folder to what it teaches: its settings, planned anew, and its trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from layertune.cli.planning import Planning, plan_models
from layertune.cli.preparation import ask_llama_cpp
from layertune.config import CONFIG_NAME, DeviceChoice, StudyConfig, load_config
from layertune.errors import DeviceError, ModelFileError, UsageError
from layertune.memory.residuals import Correction
from layertune.models import ModelShape, remembered_shape
from layertune.models.known import find_known
from layertune.models.standin import hollow_standin
from layertune.prediction import Calibration, Study
from layertune.results.recorded import quiet_trials, recorded_samples
from layertune.results.result import Result, load_result
from layertune.search.constraints import Limits
from layertune.search.feasible import FeasibleSpace
from layertune.search.space import SearchSpace
from layertune.search.speeds import model_engines
from layertune.settings import SplitSettings


@dataclass(frozen=True, slots=True)
class Recorded:
    """A study as its folder has it; `folder` is the result.json's where that was given."""

    folder: Path
    result: Result
    config: StudyConfig

    @classmethod
    def read(cls, study: Path) -> "Recorded":
        """Raises UsageError where there is only a result.json: what else could have been set is in the config."""
        result = load_result(study)
        folder = study if study.is_dir() else study.parent
        if not (folder / CONFIG_NAME).exists():
            raise UsageError(
                f"{folder} has no {CONFIG_NAME}, which says what else the study could have set",
                remedy="give the study's whole folder",
            )
        return cls(folder, result, load_config(folder / CONFIG_NAME))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A study that is ready to predict; `shapes` by model."""

    recorded: Recorded
    calibration: Calibration
    shapes: Mapping[str, ModelShape]
    space: SearchSpace
    planning: Planning

    def room_bytes(self, vram_bytes: int) -> int:
        """Return what buffers may take of a card, the study's margin kept free.

        Raises:
            NothingFits: not even the smallest setting fits.
        """
        feasible = _feasible(self.recorded, self.space, self.planning, vram_bytes)
        feasible.check()
        return feasible.room_bytes()


def calibrate(recorded: Recorded) -> Calibrated:
    """Plan all settings of a study and learn from its trials; nothing is loaded and nothing measured.

    Raises:
        UsageError: the study was on the CPU alone, its models are not here and not known, or it measured too little.
        ModelFileError: the models here are not those that it measured.
        DeviceError: the study's GPU is not here to be asked what settings take.
        BuildError: llama.cpp cannot say what they take.
    """
    result, config = recorded.result, recorded.config
    shapes = {name: _shape(recorded, name) for name in result.models}
    planning = _planning(recorded, shapes)
    # The study's own machine, which need not be this one.
    n_cores = result.hardware.cpu.n_cores
    n_layers = {name: shape.n_layer for name, shape in shapes.items()}
    space = SearchSpace.of(config, n_layers, n_threads=min(config.host.n_cpus or n_cores, n_cores))
    ask_llama_cpp(planning, space)
    own_bytes = result.budget.vram_bytes or result.hardware.device.vram_bytes or 0
    feasible = _feasible(recorded, space, planning, own_bytes)
    workloads = {name: config.models[name].workload for name in n_layers}
    trials = quiet_trials(result) or [trial for trial in result.trials if trial.metrics is not None]
    picks = {pick: SplitSettings.of(result.trial(number).settings) for pick, number in result.picks.items()}
    study = Study(
        models=model_engines(space, feasible, workloads),
        n_layers=n_layers,
        planner=feasible.planner,
        objectives=config.resolved_objectives(),
        room_bytes=feasible.room_bytes(),
        trials=[
            (
                SplitSettings.of(trial.settings).canonical(n_layers),
                {name: recorded_samples(trial, name) for name in result.models},
            )
            for trial in trials
        ],
        picks={pick: settings.canonical(n_layers) for pick, settings in picks.items()},
        floors=config.resolved_floors(),
        weights=config.resolved_weights(),
    )
    return Calibrated(recorded, Calibration(study), shapes, space, planning)


def _shape(recorded: Recorded, name: str) -> ModelShape:
    """Return the model's shape, of its file or, without one, of the known model that it is."""
    model, path = recorded.result.models[name], recorded.config.models[name].path
    if path.exists():
        shape = remembered_shape(path)
    else:
        try:
            shape = remembered_shape(hollow_standin(find_known(model.file)))
        except UsageError as error:
            raise UsageError(
                f"{name}: {path} is not here, and {model.file} is no model whose shape layertune knows by itself",
                remedy="put the file there: its header says what settings take",
            ) from error
        typer.echo(f"{name}: {path} is not here; planned by the known shape of {model.file}", err=True)
    if (shape.architecture, shape.n_layer) != (model.architecture, model.n_layer):
        raise ModelFileError(
            f"{name}: {path} is not the model that the study measured: {shape.architecture} with {shape.n_layer} "
            f"layers, and it was {model.architecture} with {model.n_layer}",
            remedy="put the study's own model there",
        )
    return shape


def _planning(recorded: Recorded, shapes: dict[str, ModelShape]) -> Planning:
    config, device = recorded.config, recorded.result.hardware.device
    n_processes = config.deployment.processes or len(config.models)
    if device.kind == "cpu":
        raise UsageError(
            "the study was on the CPU alone: nothing in it tells how fast a device is",
            remedy="give a study of a GPU or of an emulated card",
        )
    if device.kind == "emulated":
        choice = DeviceChoice("emulated", vram_bytes=device.vram_bytes)
        return plan_models(shapes, choice, config.emulated.n_threads, n_processes)
    try:
        return plan_models(shapes, config.resolved_device(), config.emulated.n_threads, n_processes)
    except DeviceError as error:
        raise DeviceError(
            f"what llama.cpp takes of {device.name} can only be asked where such a card is: {error.what}",
            remedy="predict on the study's machine",
        ) from error


def _feasible(recorded: Recorded, space: SearchSpace, planning: Planning, vram_bytes: int) -> FeasibleSpace:
    """Return what fits a card of this size: the study's limits, and what its trials taught it beyond the plan."""
    config, plan = recorded.config, recorded.result.plan
    limits = Limits(
        vram_bytes=vram_bytes,
        margin_bytes=recorded.result.budget.margin_bytes,
        ram_per_model_bytes=config.host.ram_per_model,
        n_processes=planning.n_processes,
        file_bytes={name: shape.file_bytes for name, shape in planning.shapes.items()},
    )
    feasible = FeasibleSpace(space, planning.planner(), limits)
    if plan is not None and plan.n_trials:
        feasible.correction = Correction(plan.overhead_bytes, plan.headroom_bytes, plan.n_trials)
    return feasible
