"""The whole command with real llama-servers on the emulated card. Two tiny stand-ins keep it short."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from layertune.export import render_env
from layertune.results.result import Result
from layertune.units import MIB
from served import TOOLS, served
from tiny_stack import write_models, write_study

SERVER = TOOLS / "llama-server"
CARD_MIB = 14

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("needs_rpc"),
    pytest.mark.skipif(not SERVER.exists(), reason="no llama-server here; make tools builds it"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture
def study(models: Path, tmp_path: Path) -> Path:
    made(tmp_path / "study", models, CARD_MIB * MIB)
    return tmp_path / "study"


def made(folder: Path, models: Path, vram_bytes: int) -> Result:
    result = write_study(folder, models, f"emulated:{vram_bytes}", vram_bytes)
    (folder / ".env").write_text(render_env(result, result.trial(0)))
    return result


def command(*arguments: str) -> list[str]:
    code = "from layertune.cli.main import run; run()"
    return [sys.executable, "-c", code, "verify", *arguments, "--server", str(SERVER)]


def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def test_the_exported_stack_is_soaked_and_passes(study: Path) -> None:
    answer = verify(str(study), "--duration", "3s", "--concurrency", "3", "-o", str(study / "verify.md"), "--json")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["passed"]
    assert {check["state"] for check in document["checks"]} == {"passed"}
    memory = document["memory"]
    plan = document["plan"]["device_bytes"]
    assert memory["after_bytes"]["chat"] == pytest.approx(plan["chat"], abs=0.02 * MIB)
    assert memory["after_bytes"]["code"] == pytest.approx(plan["chat"] + plan["code"], abs=0.04 * MIB)
    assert memory["soak_peak_bytes"] <= CARD_MIB * MIB
    assert (memory["drift"]["moved_bytes"], memory["left_bytes"]) == (0, 0)
    soak = document["phases"][-1]
    assert soak["failures"] == {}
    for model in soak["models"].values():
        assert model["n_answered"] >= 3
        assert model["n_reused"] == 0
    text = (study / "verify.md").read_text()
    assert "**PASSED**" in text
    assert "EMULATED" in text


def test_an_env_over_the_budget_fails_and_its_advice_fixes_it(models: Path, tmp_path: Path) -> None:
    # All of both models is 2 % more than this card has.
    made(tmp_path / "whole", models, 64 * MIB)
    whole = verify("--env", str(layers(tmp_path / "whole", 5, 7)), "--duration", "1s", "--concurrency", "1", "--json")
    needed_bytes = sum(json.loads(whole.stdout)["plan"]["device_bytes"].values())
    made(tmp_path / "study", models, int(needed_bytes / 1.02))
    answer = verify("--env", str(layers(tmp_path / "study", 5, 7)), "-o", str(tmp_path / "verify.md"))
    assert answer.returncode == 1
    assert "too much" in answer.stderr
    advice = re.search(r"lower ([A-Z]+)_N_GPU_LAYERS to (\d+)", answer.stderr)
    assert advice is not None, answer.stderr
    assert "- [ ] **failed:** the planned memory fits the budget" in (tmp_path / "verify.md").read_text()
    lowered = {"CHAT": 5, "CODE": 7} | {advice[1]: int(advice[2])}
    env = str(layers(tmp_path / "study", lowered["CHAT"], lowered["CODE"]))
    fixed = verify("--env", env, "--duration", "1s", "--concurrency", "1")
    assert fixed.returncode == 0, fixed.stderr
    one_more = {**lowered, advice[1]: lowered[advice[1]] + 1}
    assert verify("--env", str(layers(tmp_path / "study", one_more["CHAT"], one_more["CODE"]))).returncode == 1


def layers(folder: Path, chat: int, code: int) -> Path:
    """Write these layers into the `.env` of a study, by hand."""
    env = folder / ".env"
    text = re.sub(r"CHAT_N_GPU_LAYERS=.*", f"CHAT_N_GPU_LAYERS={chat}  # by hand", env.read_text())
    env.write_text(re.sub(r"CODE_N_GPU_LAYERS=.*", f"CODE_N_GPU_LAYERS={code}", text))
    return env


def test_servers_that_run_already_are_verified_and_left_running(study: Path, models: Path, tmp_path: Path) -> None:
    urls, running = [], []
    with ExitStack() as open_:
        for name in ("chat", "code"):
            words = f"{SERVER} --model {models / name}.gguf -ngl 0 -c 512 -t 1 --parallel 1 --device none --fit off"
            running.append(open_.enter_context(served(words.split(), tmp_path)))
            urls += ["--url", f"{name}=http://127.0.0.1:{running[-1].port}"]
        answer = verify(str(study), *urls, "--duration", "1s", "--concurrency", "2", "--json")
        assert answer.returncode == 0, answer.stderr
        assert [server.ask("/health")["status"] for server in running] == ["ok", "ok"]
    states = {check["what"]: check["state"] for check in json.loads(answer.stdout)["checks"]}
    assert states["VRAM before, and after each start"] == "not walked"


def soaking(study: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Start a verification, and wait until it soaks; return it with its children."""
    process = subprocess.Popen(
        command(str(study), "--duration", "10m", "--concurrency", "2"),
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("soak"):
            break
    family = psutil.Process(process.pid).children(recursive=True)
    names = [child.name() for child in family]
    assert names.count("llama-server") == 2
    assert len(family) == 4
    return process, family


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_soak_leaves_no_server_and_no_card(study: Path, how: signal.Signals) -> None:
    process, family = soaking(study)
    os.killpg(process.pid, how)  # as a terminal sends it: to the whole group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted: what was started has been ended" in errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone signals the children of a dead parent")
def test_kill_9_in_the_soak_leaves_no_server_and_no_card(study: Path) -> None:
    process, family = soaking(study)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_a_server_that_is_killed_in_the_soak_fails_it(study: Path) -> None:
    process, family = soaking(study)
    next(child for child in family if child.name() == "llama-server").kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ended with signal SIGKILL" in errors
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_a_file_that_is_missing_or_another_fails_before_anything_starts(study: Path, models: Path) -> None:
    elsewhere = study / "models"
    elsewhere.mkdir()
    shutil.copy(models / "chat.gguf", elsewhere / "code.gguf")
    answer = verify(str(study), "--models-dir", str(elsewhere))
    assert answer.returncode == 1
    assert "there is no file" in answer.stderr
    assert "code.gguf is not the file that the study measured (sha256)" in answer.stdout


def test_on_a_cpu_the_memory_is_not_checked(models: Path, tmp_path: Path) -> None:
    write_study(tmp_path / "study", models, "cpu", None)
    answer = verify(str(tmp_path / "study"), "--duration", "1s", "--concurrency", "2", "--json")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["memory"] is None
    not_walked = [check["evidence"] for check in document["checks"] if check["state"] == "not walked"]
    assert not_walked == ["a CPU has no memory of its own"]


@pytest.mark.skipif(find_spec("fastapi") is None, reason="no llama_cpp.server here; pip install 'layertune[server]'")
def test_without_llama_server_llama_cpp_server_is_verified_and_its_missing_options_are_listed(
    models: Path, tmp_path: Path
) -> None:
    write_study(tmp_path / "study", models, "cpu", None)
    words = [
        word for word in command("study", "--duration", "1s", "--concurrency", "2", "--json") if word != str(SERVER)
    ]
    words.remove("--server")
    empty = {**os.environ, "PATH": os.defpath}
    answer = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=empty)
    assert answer.returncode == 0, answer.stderr
    subject = json.loads(answer.stdout)["subject"]
    assert subject["server"] == "python -m llama_cpp.server"
    assert any("--cache-ram" in sentence for sentence in subject["untaken"])
