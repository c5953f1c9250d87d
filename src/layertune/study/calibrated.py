"""A study prepared for predictions: its folder read, its settings planned again, its trials as calibration data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layertune.config import CONFIG_NAME, DeviceChoice, StudyConfig, load_config
from layertune.config.objective import AT_DEPTH, with_floors
from layertune.devices.target import Target
from layertune.errors import ConfigError, DeviceError, ModelFileError, UsageError, listed
from layertune.memory.correction import Correction
from layertune.models import ModelShape, cached_shape
from layertune.models.known_models import find_known
from layertune.models.standin import standin_skeleton
from layertune.prediction import Calibration, MeasuredStudy, session_spread
from layertune.regular_files import is_folder, is_there
from layertune.results.qualities import resolved_objectives
from layertune.results.result import DeviceInfo, Result, quiet_trials, read_result
from layertune.results.trial_info import TrialInfo, recorded_samples
from layertune.sampler.posterior import model_engines
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.study.facts import ask_llama_cpp, ignore
from layertune.study.models_on_device import ModelsOnDevice, is_measured_file, place_models


@dataclass(frozen=True, slots=True)
class Recorded:
    """A study read from its folder; `folder` is that of the result.json where one was given."""

    folder: Path
    result: Result
    config: StudyConfig

    @classmethod
    def read(cls, study: Path) -> "Recorded":
        """Read a study's folder.

        Raises:
            UsageError: there is only a result.json; the search space is in the config.
            ConfigError: the config names other models than the result.
        """
        result = read_result(study)
        folder = study if is_folder(study) else study.parent
        if not is_there(folder / CONFIG_NAME):
            raise UsageError(
                f"{folder} has no {CONFIG_NAME}, which says what else the study could have set",
                remedy="give the study's whole folder",
            )
        config = load_config(folder / CONFIG_NAME)
        if config.models.keys() != result.models.keys():
            raise ConfigError(
                f"{folder / CONFIG_NAME} has the models {', '.join(config.models)}, and the study measured "
                f"{', '.join(result.models)}",
                remedy="give the config that the study was made with",
            )
        return cls(folder, result, config)

    def quiet_trials(self) -> Sequence[TrialInfo]:
        """Return the measured trials that nothing disturbed. A disturbed trial may be slow by any factor.

        Raises:
            UsageError: there is none.
        """
        found = quiet_trials(self.result)
        if not found:
            raise UsageError(
                f"{self.folder} has no measured trial that nothing disturbed", remedy="search again on a quiet machine"
            )
        return found


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A study whose trials have calibrated the model of time; `shapes` by model."""

    recorded: Recorded
    calibration: Calibration
    shapes: Mapping[str, ModelShape]
    space: SearchSpace
    models: ModelsOnDevice

    def capacity_bytes(self, vram_bytes: int) -> int:
        """Return what llama.cpp's buffers may take of a card of this size, without the study's margin.

        Raises:
            NothingFits: not even the smallest setting fits.
        """
        feasible = _feasible(self.recorded, self.space, self.models, vram_bytes)
        feasible.check()
        return feasible.capacity_bytes


def calibrate(recorded: Recorded, notify: Callable[[str], None] = ignore) -> Calibrated:
    """Plan all settings of a study and fit the model of time to its trials. No model is loaded.

    Raises:
        UsageError: the study was on the CPU alone, its models are not here and not known, or it measured too little.
        ModelFileError: the models here are not those that it measured.
        DeviceError: the study's GPU is not in this machine, so settings cannot be planned.
        BuildError: llama.cpp cannot plan the models.
    """
    result, config, trials = recorded.result, recorded.config, recorded.quiet_trials()
    if result.files:
        raise UsageError(
            f"the study searched files of {listed(list(result.files))}, and a prediction is of one file for each model",
            remedy="search with one file of each, or with --set MODEL.file=FILE",
        )
    if none := [name for name, load in result.workload.items() if not load.n_generate]:
        raise UsageError(
            f"{listed(none)}: an embedding or reranking model, whose speeds are not predicted yet",
            remedy="search the other models alone, and predict these",
        )
    sought = with_floors(resolved_objectives(result), config.resolved_floors())
    if deep := [each.name for each in sought if each.quantity in AT_DEPTH]:
        raise UsageError(
            f"the study seeks {deep[0]}, a speed at a filled context, which a prediction does not cover",
            remedy="search without it",
        )
    shapes = {name: shape_of(recorded, name, notify) for name in result.models}
    models = _models_on_device(recorded, shapes)
    # The study's own machine, which need not be this one.
    n_cores = result.hardware.cpu.n_cores
    n_layers = {name: shape.n_layer for name, shape in shapes.items()}
    space = SearchSpace.of(config, n_layers, n_threads=config.host.n_cpus_of(n_cores))
    ask_llama_cpp(models, space, notify)
    own_bytes = result.hardware.device.vram_bytes if result.budget.vram_bytes is None else result.budget.vram_bytes
    feasible = _feasible(recorded, space, models, own_bytes or 0)
    workloads = {name: config.models[name].workload for name in n_layers}
    study = MeasuredStudy(
        models=model_engines(space, feasible, workloads),
        n_layers=n_layers,
        planner=feasible.planner,
        objectives=resolved_objectives(result),
        trials=[
            (
                SplitSettings.of(trial.settings).canonical(n_layers),
                {name: recorded_samples(trial, name) for name in result.models},
            )
            for trial in trials
        ],
        session=session_spread([each for run in result.references[1:] for each in run.relative.values()]),
        floors=config.resolved_floors(),
        weights=config.resolved_weights(),
    )
    return Calibrated(recorded, Calibration(study), shapes, space, models)


def shape_of(recorded: Recorded, name: str, notify: Callable[[str], None] = ignore) -> ModelShape:
    """Return a model's shape, from its file, or from the list of known models where the file is missing.

    Raises:
        UsageError: the file is missing and the model is not known.
        ModelFileError: it is not the model that the study measured.
    """
    model, path = recorded.result.models[name], recorded.config.paths[name]
    is_skeleton = not is_there(path)
    if not is_skeleton:
        shape = cached_shape(path)
    else:
        try:
            shape = cached_shape(standin_skeleton(find_known(model.file)))
        except UsageError as error:
            raise UsageError(
                f"{name}: {path} is not here, and {model.file} is no model whose shape layertune knows by itself",
                remedy="put the file there: its header says what settings take",
            ) from error
        notify(f"{name}: {path} is not here; planned by the known shape of {model.file}")
    if not is_measured_file(shape, model, is_skeleton=is_skeleton):
        raise ModelFileError(
            f"{name}: {path} is not the model that the study measured: {shape.architecture} with {shape.n_layer} "
            f"layers in {shape.file_bytes} bytes, and it was {model.architecture} with {model.n_layer} in "
            f"{model.file_bytes}",
            remedy="put the study's own model there",
        )
    return shape


def _models_on_device(recorded: Recorded, shapes: dict[str, ModelShape]) -> ModelsOnDevice:
    config, device = recorded.config, recorded.result.hardware.device
    if device.kind == "cpu":
        raise UsageError(
            "the study was on the CPU alone: it has no speed of a device",
            remedy="give a study of a GPU or of an emulated card",
        )
    if recorded.result.budget.devices is not None:
        raise UsageError(
            f"the study was on several devices, {device.name}, and it has no speed of one device alone",
            remedy="give a study of one GPU or of one emulated card",
        )
    if device.kind == "emulated":
        choice = DeviceChoice("emulated", sizes_bytes=(device.vram_bytes or 0,))
        return place_models(shapes, choice, config.emulated.n_threads, config.n_processes)
    try:
        models = place_models(shapes, config.resolved_device(), config.emulated.n_threads, config.n_processes)
    except DeviceError as error:
        raise DeviceError(
            f"what llama.cpp takes of {device.name} can only be asked where such a card is: {error.what}",
            remedy="predict on the study's machine",
        ) from error
    refuse_other_gpu(models.target, device)
    return models


def refuse_other_gpu(found: Target, measured: DeviceInfo) -> None:
    """Raises DeviceError where the device here is another than the study's, since its memory plans would differ."""
    if (found.kind, found.name) != (measured.kind, measured.name):
        raise DeviceError(
            f"what llama.cpp takes of {measured.name} can only be asked where such a card is, and here is {found.name}",
            remedy="predict on the study's machine, or let study.toml choose that card",
        )


def _feasible(recorded: Recorded, space: SearchSpace, models: ModelsOnDevice, vram_bytes: int) -> FeasibleSpace:
    """Return the settings that fit a card of this size, under the study's limits and the correction it learned."""
    config, plan = recorded.config, recorded.result.plan
    limits = Limits(
        vram=(vram_bytes,),
        margin_bytes=recorded.result.budget.margin_bytes,
        ram_per_model_bytes=config.host.ram_per_model,
        n_processes=models.n_processes,
        file_bytes={name: shape.file_bytes for name, shape in models.shapes.items()},
    )
    feasible = FeasibleSpace(space, models.planner(), limits)
    if plan is not None and plan.n_trials:
        feasible = feasible.corrected(Correction(plan.overhead_bytes, plan.headroom_bytes, plan.n_trials))
    return feasible
