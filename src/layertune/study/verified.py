"""A study to be verified: its result, its config, and the memory plan of its models as they are served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layertune.config import CONFIG_NAME, ModelSpace, StudyConfig, load_config, parse_config
from layertune.config.model_config import DIMENSIONS
from layertune.errors import BuildError, UsageError
from layertune.memory import GPU
from layertune.regular_files import is_folder, is_there
from layertune.results.result import Result, read_result
from layertune.settings import CACHE_TYPES
from layertune.space.search_space import FILE
from layertune.study.estimate import Estimate, estimate
from layertune.study.models_on_device import ModelsOnDevice
from layertune.units import format_bytes
from layertune.verify.record import PlanCheck
from layertune.verify.server_output import without_folders
from layertune.verify.stack import Stack


@dataclass(frozen=True, slots=True)
class VerifiedStudy:
    """A finished study, and where its model files are here. `config` has its device, budget and limits."""

    result: Result
    config: StudyConfig

    def folders(self) -> dict[str, Path]:
        return {name: next(iter(model.paths.values())).parent for name, model in self.config.models.items()}

    def files(self) -> list[Path]:
        return list(self.config.paths.values())

    def config_of(self, stack: Stack) -> StudyConfig:
        """Return the config with every setting fixed to the served one."""
        models = {}
        for name, model in self.config.models.items():
            engine = stack.models[name].settings
            written = {field: engine.written(field) for field in DIMENSIONS if field not in (FILE, CACHE_TYPES)}
            space = ModelSpace.model_validate({field: value for field, value in written.items() if value != ""})
            changes = {"path": stack.models[name].file, "files": None, "n_parallel": engine.n_parallel, "space": space}
            models[name] = model.model_copy(update=changes)
        return self.config.model_copy(update={"models": models})


def open_verified(study: Path, models_dir: Path | None) -> VerifiedStudy:
    """Read a study folder, or a result.json whose models are in `models_dir`.

    Raises:
        ResultFileError, ConfigError: a file of it cannot be read.
        UsageError: nothing says where the model files are.
    """
    result = read_result(study)
    if result.budget.devices is not None:
        raise UsageError(
            f"the study is of several devices, {result.hardware.device.name}, and verify supports one",
            remedy="give a study of one GPU or of one emulated card",
        )
    config_file = (study if is_folder(study) else study.parent) / CONFIG_NAME
    if is_there(config_file):
        config = load_config(config_file)
    elif models_dir is not None:
        config = _config_of(result, models_dir, str(study))
    else:
        raise UsageError(
            f"{config_file} is not there, which says where the model files are",
            remedy="give their folder: --models-dir",
        )
    if set(config.models) != set(result.models):
        raise UsageError(f"{config_file} and the result have other models", remedy="give the folder of one study")
    if models_dir is not None:
        models = {
            name: model.model_copy(update=_files_in(models_dir, result, name)) for name, model in config.models.items()
        }
        config = config.model_copy(update={"models": models})
    return VerifiedStudy(result, config)


def _files_in(folder: Path, result: Result, name: str) -> dict[str, Any]:
    """Return the keys of a model whose files are in this folder."""
    if name in result.files:
        return {"path": None, "files": [folder / file for file in result.files[name]]}
    return {"path": folder / result.models[name].file, "files": None}


def plan_verdict(config: StudyConfig, models: ModelsOnDevice) -> PlanCheck:
    """Plan a config whose settings are all fixed."""
    try:
        found = estimate(config, models)
    except BuildError as error:
        nothing = dict.fromkeys(config.models)
        capacity_bytes = next(iter(models.budgets_bytes(config)), None)
        return PlanCheck(None, without_folders(f"no plan: {error}"), None, capacity_bytes, nothing)
    return PlanCheck(
        fits=False if found.plan.needed_bytes is None else found.fits(),
        words=_words(found),
        advice=_advice(found),
        capacity_bytes=found.budget_bytes,
        device_bytes={name: model.devices[GPU].total_bytes for name, model in found.plan.models.items()},
    )


def _words(found: Estimate) -> str:
    needed_bytes, budget_bytes = found.plan.needed_bytes, found.budget_bytes
    if needed_bytes is None:
        return f"llama.cpp creates no context with them: {found.settings.impossible() or 'it does not say why'}"
    if found.over_ram():
        limit = format_bytes(found.ram_limit_bytes or 0)
        return "; ".join(
            f"{name} exceeds its RAM limit of {limit} by {format_bytes(n_bytes)}"
            for name, n_bytes in found.over_ram().items()
        )
    if budget_bytes is None:
        return "there is no device to offload to, so no budget"
    spare_bytes = budget_bytes - needed_bytes
    rest = f"{format_bytes(abs(spare_bytes))} {'to spare' if spare_bytes >= 0 else 'too much'}"
    return f"{format_bytes(needed_bytes)} of {format_bytes(budget_bytes)}, {rest}"


def _advice(found: Estimate) -> str | None:
    """Return which layers to lower so that it fits, the smallest loss first; None where it fits already."""
    if found.fits() is not False:
        return None
    if found.over_ram():
        return "raise the container's RAM limit, or put more of its layers on the device"
    losses = sorted(
        (1 - most / found.settings[name].n_gpu_layers, f"{name.upper()}_N_GPU_LAYERS to {most}")
        for name, most in found.most_layers.items()
        if most is not None and most < found.settings[name].n_gpu_layers
    )
    if not losses:
        return "lower the layers of more than one model, or N_CTX or N_BATCH"
    return "lower " + ", or ".join(words for _, words in losses)


def _config_of(result: Result, models_dir: Path, source: str) -> StudyConfig:
    device = result.hardware.device
    limits = result.host_limits
    budget = {"vram": result.budget.vram_bytes, "margin": result.budget.margin_bytes}
    host = {} if limits is None else {"n_cpus": limits.n_cpus, "ram_per_model": limits.ram_per_model_bytes}
    table: dict[str, Any] = {
        "name": result.study.name,
        "device": {"cpu": "cpu", "gpu": "auto"}.get(device.kind, f"emulated:{device.vram_bytes}"),
        "emulated": {} if device.n_threads is None else {"n_threads": device.n_threads},
        "models": {
            name: {
                **{key: each for key, each in _files_in(models_dir, result, name).items() if each is not None},
                "workload": result.workload[name].model_dump(),
                "space": {"n_ctx": max(trial.settings[name].n_ctx for trial in result.trials)},
            }
            for name in result.models
        },
        "budget": {key: value for key, value in budget.items() if value is not None},
        "host": {key: value for key, value in host.items() if value is not None},
    }
    return parse_config(table, source=source, folder=Path())
