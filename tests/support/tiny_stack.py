"""A finished study of two tiny stand-ins, as `layertune search` would have left it, to serve and verify in seconds."""

from pathlib import Path

from deployments import study
from layertune.config import dump_config, parse_config
from layertune.models import file_sha256, read_shape
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.results.result import Result, write_result
from layertune.settings import EngineSettings

CHAT = KnownModel("chat", 4, 256, 512, 4, 2, n_vocab=2000, tied=True)
CODE = KnownModel("code", 6, 512, 1024, 8, 2, n_vocab=2000, tied=False)
FILES = {"chat": "chat.gguf", "code": "code.gguf"}
_ENGINE = EngineSettings(n_gpu_layers=5, n_ctx=512, n_batch=64, n_ubatch=64, n_threads=1, flash_attn="on")
SETTINGS = {"chat": _ENGINE, "code": _ENGINE}


def write_models(folder: Path) -> None:
    known_standin(CHAT).write(folder / FILES["chat"])
    known_standin(CODE).write(folder / FILES["code"])


def write_study(folder: Path, models: Path, device: str, vram_bytes: int | None) -> Result:
    """Write `folder` with a study of the models in `models`, one trial, on a device like "emulated:14MiB" or "cpu"."""
    made = study([SETTINGS], FILES)
    shapes = {name: read_shape(models / file) for name, file in FILES.items()}
    infos = {
        name: info.model_copy(update={"sha256": file_sha256(models / FILES[name]), "n_layer": shapes[name].n_layer})
        for name, info in made.models.items()
    }
    kind = device.partition(":")[0]
    made_on = made.hardware.device.model_copy(update={"kind": kind, "vram_bytes": vram_bytes})
    made = made.model_copy(
        update={
            "models": infos,
            "workload": {
                name: each.model_copy(update={"n_prompt": 24, "n_generate": 6}) for name, each in made.workload.items()
            },
            "hardware": made.hardware.model_copy(update={"device": made_on}),
            "budget": made.budget.model_copy(update={"vram_bytes": vram_bytes}),
        }
    )
    table = {
        "name": "tiny",
        "device": device,
        "emulated": {"n_threads": 1},
        "models": {
            name: {
                "path": str(models / file),
                "workload": {"n_prompt": 24, "n_generate": 6},
                "space": {"n_ctx": 512, "n_batch": 64, "n_ubatch": 64},
            }
            for name, file in FILES.items()
        },
    }
    folder.mkdir()
    (folder / "study.toml").write_text(dump_config(parse_config(table, source="test", folder=folder)))
    write_result(made, folder / "result.json")
    return made
