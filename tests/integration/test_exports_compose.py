"""Exports as docker-compose reads them: the compose export, `.env`, and the worksheet's compose with two repairs."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments import WORKSHEET, demo, recorded, study, worksheet
from layertune.errors import UsageError
from layertune.export import EXPORTERS, pick_for_case_study, quote
from layertune.results.result import Result
from names import AWKWARD
from readers import shell_words
from served import TOOLS, WITHOUT_GPU, context_value, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("docker-compose") is None, reason="no docker-compose here; Debian's package docker-compose has it"
    ),
]

WORKSHEETS = """\
services:
  inference-chat:
    command: >
      --host 0.0.0.0 --port 8001
      --model /models/${CHAT_MODEL:-Qwen2.5-3B-Instruct-Q4_K_M.gguf}
      --n-gpu-layers ${CHAT_N_GPU_LAYERS:-999}  # 전체 GPU
      -c 1024 -b 128 -t 4
      --parallel 1 --cont-batching

  inference-code:
    command: >
      --host 0.0.0.0 --port 8001
      --model /models/${CODE_MODEL:-qwen2.5-coder-7b-instruct-q4_k_m.gguf}
      --n-gpu-layers ${CODE_N_GPU_LAYERS:-20}   # 일부 CPU 오프로드
      -c 1024 -b 128 -t 4
      --parallel 1 --cont-batching
"""
_IMAGE = "    image: ghcr.io/ggml-org/llama.cpp:server-cuda\n"


def without_comments(compose: str) -> str:
    return re.sub(r" +#.*", "", compose)


def with_images(compose: str) -> str:
    for name, port in (("chat", 8001), ("code", 8004)):
        ports = f'    ports: ["{port}:8001"]\n'
        compose = compose.replace(f"  inference-{name}:\n", f"  inference-{name}:\n{_IMAGE}{ports}")
    return compose


EACH = pytest.mark.parametrize("made", [demo, recorded, worksheet], ids=["demo", "recorded 3B + 7B", "worksheet"])
needs_server = pytest.mark.skipif(
    not (TOOLS / "llama-server").exists(), reason="no llama-server here; make tools builds it"
)


def files_of(format: str, made: Result) -> dict[str, str]:
    return EXPORTERS[format](made, made.picked("balanced"), "/models")


def services(folder: Path, *texts: dict[str, str]) -> dict[str, Any]:
    """Write the files and return the services that docker-compose makes of them."""
    for name, text in [pair for files in texts for pair in files.items()]:
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    answer = subprocess.run(
        ["docker-compose", "-f", "compose.yml", "config"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = yaml.safe_load(answer.stdout)["services"]
    return found


def words(service: dict[str, Any]) -> list[str]:
    """docker-compose doubles every dollar of what it prints, and the daemon splits a text as a shell would."""
    command = service["command"]
    return [word.replace("$$", "$") for word in (shlex.split(command) if isinstance(command, str) else command)]


def in_container(made: Result, name: str) -> list[str]:
    script = files_of("llama-server", made)[f"{name}.sh"]
    found = shell_words(script)
    return ["--host", "0.0.0.0", "--port", "8001", *found[4:]]


@EACH
@pytest.mark.parametrize("with_env", [True, False])
def test_the_compose_file_runs_what_was_measured_with_its_env_and_without(
    made: Any, with_env: bool, tmp_path: Path
) -> None:
    found = services(tmp_path, files_of("compose", made()), files_of("env", made()) if with_env else {})
    for name in made().models:
        assert words(found[f"inference-{name}"]) == in_container(made(), name)


def test_the_env_of_another_pick_changes_every_tuned_flag(tmp_path: Path) -> None:
    other = worksheet(7, type_k="q8_0", type_v="q8_0", n_ctx=2048, n_batch=64, n_ubatch=32, n_threads=3, n_parallel=2)
    found = services(tmp_path, files_of("compose", worksheet(20)), files_of("env", other))
    assert words(found["inference-code"]) == in_container(other, "code")


def test_the_containers_limits_and_the_gpu_are_reserved(tmp_path: Path) -> None:
    service = services(tmp_path, files_of("compose", worksheet()))["inference-chat"]
    resources = service["deploy"]["resources"]
    assert float(resources["limits"]["cpus"]) == 4.0
    assert str(resources["limits"]["memory"]) == "6000000000b"
    assert resources["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert "8001/health" in " ".join(service["healthcheck"]["test"])


def test_any_file_name_is_kept_by_the_compose_file(tmp_path: Path) -> None:
    files = {"chat": "a.gguf"} | {f"m{index}": name for index, name in enumerate(AWKWARD) if "\0" not in name}
    made = study([dict.fromkeys(files, WORKSHEET)], files)
    found = services(tmp_path, files_of("compose", made))
    for name, file in files.items():
        service = words(found[f"inference-{name}"])
        assert service[service.index("--model") + 1] == f"/models/{file}"


def test_any_file_name_is_kept_by_the_env_or_refused(tmp_path: Path) -> None:
    held: dict[str, str] = {}
    for index, name in enumerate(AWKWARD):
        try:
            held[f"M{index}_MODEL"] = f"{quote(name)}"
        except UsageError:
            continue
    command = [f"/models/${{{key}}}" for key in held]
    reader = yaml.safe_dump({"services": {"all": {"image": "none", "command": command}}})
    env = "".join(f"{key}={value}\n" for key, value in held.items())
    found = services(tmp_path, {"compose.yml": reader, ".env": env})
    assert words(found["all"]) == [f"/models/{AWKWARD[int(key[1:-6])]}" for key in held]
    assert len(held) > len(AWKWARD) // 3


@needs_server
@EACH
def test_the_command_that_compose_builds_starts_the_server(
    made: Any, demo_pair: dict[str, Path], tmp_path: Path
) -> None:
    found = services(tmp_path, files_of("compose", made()), files_of("env", made()))
    for name in made().models:
        start_and_ask(words(found[f"inference-{name}"]), demo_pair[name], made().models[name].file, tmp_path)


@needs_server
def test_the_case_studys_compose_runs_its_env(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    made = worksheet(20, 22)
    trial = pick_for_case_study(made, "code")
    repaired = with_images(without_comments(WORKSHEETS))
    found = services(tmp_path, {"compose.yml": repaired}, EXPORTERS["env"](made, trial, "/models"))
    for name, engine in trial.settings.items():
        command = words(found[f"inference-{name}"])
        assert command[command.index("--n-gpu-layers") + 1] == str(engine.n_gpu_layers)
        log = start_and_ask(command, demo_pair[name], made.models[name].file, tmp_path)
        for field in ("n_ctx", "n_batch", "n_ubatch"):
            assert context_value(log, field) == str(getattr(engine, field)), field


@needs_server
def test_without_either_repair_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="neither an image nor a build context"):
        services(tmp_path, {"compose.yml": without_comments(WORKSHEETS)})
    command = words(services(tmp_path, {"compose.yml": with_images(WORKSHEETS)})["inference-code"])
    assert command[6:13] == ["--n-gpu-layers", "20", "#", "일부", "CPU", "오프로드", "-c"]
    answer = subprocess.run([str(TOOLS / "llama-server"), *command], capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "invalid argument: #" in answer.stderr + answer.stdout


def start_and_ask(command: list[str], gguf: Path, file: str, folder: Path) -> str:
    """Start what runs in a container here: its folder of models is another, and there is no GPU."""
    (folder / file).symlink_to(gguf)
    here = [word.replace("/models/", f"{folder}/").replace("0.0.0.0", "127.0.0.1") for word in command]
    with served([str(TOOLS / "llama-server"), *here, *WITHOUT_GPU], folder) as server:
        assert server.ask("/completion", {"prompt": "Hello", "n_predict": 2})["tokens_predicted"] >= 1
        return server.logged()
