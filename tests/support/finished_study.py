"""A small finished study, without running one."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from layertune.config import Objective
from layertune.results.choice import Choice
from layertune.results.drift import Reference
from layertune.results.result import (
    BudgetInfo,
    CpuInfo,
    DeviceInfo,
    HardwareInfo,
    LlamaCpp,
    ModelInfo,
    Result,
    WorkloadInfo,
)
from layertune.results.summary import Planned, Provenance, summarise
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import measured
from layertune.trial.outcome import Failed, Infeasible
from layertune.units import MIB


def settings(chat: int, code: int) -> SplitSettings:
    def engine(n_gpu_layers: int) -> EngineSettings:
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=1024, n_batch=256, n_ubatch=256, n_threads=4)

    return SplitSettings.of({"chat": engine(chat), "code": engine(code)})


def screened() -> list[FinishedTrial]:
    """Two trials that were measured once, one refused, one crashed."""
    return [
        FinishedTrial.of(0, settings(0, 0), measured(settings(0, 0)), {"vram": -1.0}),
        FinishedTrial.of(1, settings(37, 20), measured(settings(37, 20)), {"vram": -1.0}),
        FinishedTrial.of(2, settings(37, 29), Infeasible("load", "code", "no room", 5, 0.1), {"vram": 5.0}),
        FinishedTrial.of(3, settings(1, 1), Failed("crashed", "signal SIGSEGV", (), 0.1), {}),
    ]


def result(
    file: str = "Qwen2.5-3B-Instruct-Q4_K_M.gguf",
    planned: Planned | None = None,
    trials: Sequence[FinishedTrial] | None = None,
    references: Sequence[Reference] = (),
    choice: Choice | None = None,
    **changes: Any,
) -> Result:
    """Return the result of `trials`, without them of `screened`; `changes` are of its provenance."""
    model = ModelInfo(file=file, sha256="ab", architecture="qwen2", n_layer=36, file_bytes=1, quantization="Q4_K_M")
    values: dict[str, Any] = {
        "name": "golden",
        "created": datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC),
        "sampler": "tpe",
        "seed": 1,
        "llama_cpp": LlamaCpp(version="0.25.3", commit="0c1e570"),
        "hardware": HardwareInfo(
            fingerprint="f00d",
            device=DeviceInfo(kind="emulated", name="emulated card", vram_bytes=6141 * MIB, driver=None),
            cpu=CpuInfo(model="Test CPU", n_cores=4),
            ram_bytes=2**34,
        ),
        "models": {"chat": model, "code": model.model_copy(update={"file": "code.gguf"})},
        "workload": dict.fromkeys(("chat", "code"), WorkloadInfo(n_prompt=64, n_generate=16)),
        "budget": BudgetInfo(vram_bytes=6141 * MIB, margin_bytes=0),
        "objectives": [Objective("chat.tokens_per_s", "maximize"), Objective("vram.peak_bytes", "minimize")],
    }
    provenance = Provenance(**values | changes)
    finished = screened() if trials is None else trials
    found = choice or Choice.of(finished, provenance.objectives, provenance.floors, provenance.weights)
    return summarise(provenance, finished, found, planned, references=references)
