"""layertune estimate: what a setting takes, per model and device, before anything is loaded."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layertune.cli.console import say, show_json, warn
from layertune.config import CONFIG_NAME
from layertune.config.overrides import Overrides, study_config
from layertune.errors import ResultFileError
from layertune.memory import HOST, ModelPlan
from layertune.memory.plan import add
from layertune.study.estimate import Estimate
from layertune.study.study import open_study


def run(config_path: Path | None, overrides: Overrides, *, as_json: bool) -> None:
    study = open_study(study_config(config_path, overrides), say)
    found = study.estimate()
    if config_path is not None and config_path.name == CONFIG_NAME:
        _warn_of_other_files(config_path.parent)
    if as_json:
        show_json(_json(found))
    else:
        from layertune.cli.estimate_table import print_estimate  # the JSON needs no rich

        print_estimate(study.models, found)


def _warn_of_other_files(folder: Path) -> None:
    """Warn where a study's own config is estimated, and its model files were replaced since it was searched."""
    from layertune.results.result import read_result  # slower to import than an estimate takes
    from layertune.study.other_files import other_files

    with suppress(ResultFileError):
        for sentence in other_files(folder, read_result(folder)):
            warn(sentence)


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
