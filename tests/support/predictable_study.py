"""The folder of a small finished study of two tiny models that are really there, without running one."""

from pathlib import Path

from finished_study import result
from layertune.config import load_config
from layertune.models import read_shape
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.results.result import BudgetInfo, CpuInfo, DeviceInfo, HardwareInfo, ModelInfo, write_result
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import measured
from layertune.units import GIB, MIB

MODELS = {
    "chat": KnownModel("chat", 4, 256, 512, 4, 2, n_vocab=2000, tied=True),
    "code": KnownModel("code", 6, 512, 1024, 8, 2, n_vocab=2000, tied=False),
}
CONFIG = """
name = "small"
device = "emulated:14MiB"
emulated = { n_threads = 2 }
host = { n_cpus = 1 }
[models.chat]
path = "chat.gguf"
workload = { n_prompt = 64, n_generate = 16 }
space = { n_ctx = 256, n_batch = 16 }
[models.code]
path = "code.gguf"
workload = { n_prompt = 64, n_generate = 16 }
space = { n_ctx = 256, n_batch = 16 }
"""
# Everything on the host, each model alone on the card, and some between.
SPLITS = ((0, 0), (5, 0), (0, 3), (2, 1), (1, 2), (4, 0), (3, 1))


def write(folder: Path, device: DeviceInfo | None = None) -> Path:
    """Write models, study.toml and result.json; the balanced pick is chat's whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in MODELS.items():
        known_standin(model).write(folder / f"{name}.gguf")
    (folder / "study.toml").write_text(CONFIG, encoding="utf-8")
    infos = {name: _model_info(folder / f"{name}.gguf") for name in MODELS}
    trials = [
        FinishedTrial.of(number, split, measured(split), {"vram": -1.0}) for number, split in enumerate(_splits())
    ]
    hardware = HardwareInfo(
        fingerprint="f00d",
        device=device or DeviceInfo(kind="emulated", name="emulated card", vram_bytes=14 * MIB, driver=None),
        cpu=CpuInfo(model="Test CPU", n_cores=1),
        ram_bytes=16 * GIB,
    )
    study = result(
        trials=trials,
        models=infos,
        hardware=hardware,
        budget=BudgetInfo(vram_bytes=14 * MIB, margin_bytes=0),
        objectives=load_config(folder / "study.toml").resolved_objectives(),
    )
    write_result(study, folder / "result.json")
    return folder


def _splits() -> list[SplitSettings]:
    def engine(n_gpu_layers: int) -> EngineSettings:
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=256, n_batch=16, n_ubatch=16, n_threads=1)

    return [SplitSettings.of({"chat": engine(chat), "code": engine(code)}) for chat, code in SPLITS]


def _model_info(path: Path) -> ModelInfo:
    shape = read_shape(path)
    return ModelInfo(
        file=path.name,
        sha256="ab",
        architecture=shape.architecture,
        n_layer=shape.n_layer,
        file_bytes=shape.file_bytes,
        quantization=shape.quantization,
    )
