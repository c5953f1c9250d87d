"""Finished studies whose picks tests export and start: the demo's, the recorded one of 3B + 7B, and the worksheet's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import finished_study
from layertune.results.result import HostLimitsInfo, ModelInfo, Result, read_result
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import measured

RECORDED = Path(__file__).parents[2] / "studies" / "rtx4050-3b-7b-emulated"
DEMO_FILES = {"chat": "SmolLM2-135M-Instruct.Q4_1.gguf", "code": "gemma-3-270m-q4_k_m.gguf"}
WORKSHEET_FILES = {"chat": "Qwen2.5-3B-Instruct-Q4_K_M.gguf", "code": "qwen2.5-coder-7b-instruct-q4_k_m.gguf"}
CONTAINERS = HostLimitsInfo(n_cpus=4, ram_per_model_bytes=6_000_000_000)

_DEMO = EngineSettings(n_gpu_layers=31, n_ctx=1024, n_batch=256, n_ubatch=256, n_threads=1)
WORKSHEET = EngineSettings(n_gpu_layers=37, n_ctx=1024, n_batch=128, n_ubatch=128, n_threads=4)


def demo() -> Result:
    engines = {"chat": _DEMO, "code": replace(_DEMO, n_gpu_layers=8, n_batch=512, n_ubatch=512)}
    return study([engines], DEMO_FILES, host_limits=HostLimitsInfo(n_cpus=1, ram_per_model_bytes=None))


def recorded() -> Result:
    return read_result(RECORDED)


def worksheet(*n_gpu_layers: int, **changes: Any) -> Result:
    """Return a study of the worksheet's own values, one trial for each number of layers of the code model."""
    engine = replace(WORKSHEET, **changes)
    trials = [{"chat": engine, "code": replace(engine, n_gpu_layers=n)} for n in n_gpu_layers or (20,)]
    return study(trials, WORKSHEET_FILES, host_limits=CONTAINERS)


def named(file: str, models: tuple[str, ...] = ("chat", "code")) -> Result:
    """Return a study whose models all lie in a file of this name."""
    return study([dict.fromkeys(models, _DEMO)], dict.fromkeys(models, file))


def study(trials: list[dict[str, EngineSettings]], files: Mapping[str, str], **changes: Any) -> Result:
    model = ModelInfo(file="x.gguf", sha256="ab", architecture="qwen2", n_layer=36, file_bytes=1, quantization="Q4_K_M")
    workload = finished_study.result().workload["chat"]
    finished = [
        FinishedTrial.of(number, SplitSettings.of(engines), measured(SplitSettings.of(engines)), {"vram": -1.0})
        for number, engines in enumerate(trials)
    ]
    return finished_study.result(
        trials=finished,
        models={name: model.model_copy(update={"file": file}) for name, file in files.items()},
        workload=dict.fromkeys(files, workload),
        **changes,
    )
