"""Every format against its golden files, and what all of them must say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deployments import CONTAINERS, named
from finished_study import result
from layertune.errors import UsageError
from layertune.export import EXPORTERS, MODELS_DIR
from layertune.results.result import Result
from readers import llama_swap_words, modelfile_commands, preset_sections, shell_words, unit_words

GOLDEN = Path(__file__).parent / "golden"
SERVED = [format for format in EXPORTERS if format not in ("env", "json")]


def export(format: str, study: Result, pick: str = "chat", models_dir: str = MODELS_DIR) -> dict[str, str]:
    return EXPORTERS[format](study, study.picked(pick), models_dir)


def test_every_format_of_the_help_exists() -> None:
    assert list(EXPORTERS) == [
        "env", "compose", "llama-server", "preset", "llama-swap", "ollama", "systemd", "json"
    ]  # fmt: skip


@pytest.mark.parametrize("format", EXPORTERS)
def test_an_export_equals_its_golden_file(format: str) -> None:
    files = export(format, result(host_limits=CONTAINERS))
    golden = {path.name: path.read_text(encoding="utf-8") for path in (GOLDEN / format).iterdir()}
    assert files == golden


@pytest.mark.parametrize("format", EXPORTERS)
def test_an_export_names_its_study_and_trial(format: str) -> None:
    for text in export(format, result()).values():
        assert "golden" in text
        assert "emulated" in text.lower()


@pytest.mark.parametrize("format", SERVED)
def test_an_export_uses_the_given_models_folder(format: str) -> None:
    for text in export(format, result(), models_dir="/srv/models/").values():
        assert "/srv/models/code.gguf" in text or "/srv/models/Qwen" in text or "MODELS_DIR:-/srv/models" in text


@pytest.mark.parametrize("format", EXPORTERS)
def test_a_file_name_that_is_not_utf_8_is_refused_or_escaped(format: str) -> None:
    study = named("a\udcff.gguf")
    if format == "json":
        assert json.loads(export(format, study)["trial.json"])["models"]["chat"]["file"] == "a\udcff.gguf"
        return
    with pytest.raises(UsageError, match=r"cannot hold the file name .*; rename the model file without"):
        export(format, study)


def test_every_format_sets_the_layers_and_turns_fit_off() -> None:
    words = shell_words(export("llama-server", result())["chat.sh"])
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert (flags["--n-gpu-layers"], flags["--fit"], flags["--flash-attn"]) == ("37", "off", "on")
    assert unit_words(export("systemd", result())["llama-server-chat.service"]) == ["llama-server", *words]


def test_arguments_of_the_script_reach_the_server() -> None:
    assert shell_words(export("llama-server", result())["chat.sh"], "--device", "none")[-2:] == ["--device", "none"]


def test_the_router_serves_the_same_flags_without_an_address() -> None:
    words = shell_words(export("llama-server", result())["code.sh"])
    flags = {option[2:]: value for option, value in zip(words[::2], words[1::2], strict=True)}
    section = preset_sections(export("preset", result())["preset.ini"])["code"]
    assert section.pop("load-on-startup") == "true"
    assert section == {option: value for option, value in flags.items() if option not in ("host", "port", "alias")}


def test_llama_swap_loads_all_models_at_its_start_and_keeps_them() -> None:
    config = yaml.safe_load(export("llama-swap", result())["llama-swap.yaml"])
    assert config["groups"]["together"] == {"swap": False, "exclusive": True, "members": ["chat", "code"]}
    assert config["hooks"]["on_startup"]["preload"] == list(config["models"]) == ["chat", "code"]
    words = llama_swap_words(config, "code")
    served = shell_words(export("llama-server", result())["code.sh"])
    assert words == ["llama-server", *("${PORT}" if word == "8004" else word for word in served)]


def test_ollama_gets_the_context_of_one_slot_and_the_physical_batch() -> None:
    study = result()
    trial = study.trial(1)
    engine = trial.settings["chat"]
    slots = {name: replace(engine, n_parallel=2, n_batch=512) for name in study.models}
    files = EXPORTERS["ollama"](study, trial.model_copy(update={"settings": slots}), MODELS_DIR)
    commands = modelfile_commands(files["chat.Modelfile"])
    assert (commands["num_ctx"], commands["num_batch"]) == ("512", "256")
    assert "NOT AS MEASURED: --batch-size 512" in files["chat.Modelfile"]
    assert "OLLAMA_NUM_PARALLEL=2" in files["chat.Modelfile"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n_cpu_ffn": 3}, "it has no setting for n_cpu_ffn"),
        ({"type_k": "q8_0"}, "one OLLAMA_KV_CACHE_TYPE for all models, and the trial has f16 and q8_0"),
        ({"n_parallel": 2}, "one OLLAMA_NUM_PARALLEL for all models, and the trial has 1 and 2"),
    ],
)
def test_settings_that_ollama_does_not_have_are_refused(changes: dict[str, object], why: str) -> None:
    study = result()
    trial = study.trial(1)
    settings = trial.settings | {"code": replace(trial.settings["code"], **changes)}
    with pytest.raises(UsageError, match=why):
        EXPORTERS["ollama"](study, trial.model_copy(update={"settings": settings}), MODELS_DIR)


def test_without_host_limits_containers_and_units_have_none() -> None:
    assert "limits:" not in export("compose", result())["compose.yml"]
    assert "MemoryMax" not in export("systemd", result())["llama-server-chat.service"]


def test_an_export_of_a_cpu_study_reserves_no_gpu() -> None:
    study = result()
    device = study.hardware.device.model_copy(update={"kind": "cpu", "vram_bytes": None})
    study = study.model_copy(update={"hardware": study.hardware.model_copy(update={"device": device})})
    compose = export("compose", study)["compose.yml"]
    assert "nvidia" not in compose
    assert "server-cuda" not in compose
    assert "device = none" in export("preset", study)["preset.ini"]
