"""Exports that start a real llama-server of the measured llama.cpp. `--device none` is handed on: there is no GPU here.

The files of the 3B + 7B pick are the demo's under other names, so that its very commands start.
"""

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments import demo, named, recorded, worksheet
from layertune.export import EXPORTERS
from layertune.results.result import Result
from names import AWKWARD
from readers import SHELL, unit_words
from served import TOOLS, WITHOUT_GPU, Served, context_value, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (TOOLS / "llama-server").exists(), reason="no llama-server here; make tools builds it"),
    pytest.mark.skipif(SHELL is None, reason="no POSIX shell here"),
]
Command = Callable[[dict[str, str], str, Path], list[str]]


@pytest.fixture(params=[demo, recorded, worksheet], ids=["demo", "recorded 3B + 7B", "worksheet"])
def study(request: pytest.FixtureRequest) -> Result:
    made: Result = request.param()
    return made


@pytest.fixture
def models(study: Result, demo_pair: dict[str, Path], tmp_path: Path) -> Path:
    return linked(study, demo_pair, tmp_path / "models")


def linked(study: Result, demo_pair: dict[str, Path], folder: Path) -> Path:
    folder.mkdir()
    for name, model in study.models.items():
        (folder / model.file).symlink_to(demo_pair[name])
    return folder


def as_script(files: dict[str, str], name: str, folder: Path) -> list[str]:
    (folder / f"{name}.sh").write_text(files[f"{name}.sh"], encoding="utf-8")
    return [SHELL or "sh", f"{name}.sh", *WITHOUT_GPU]


def as_environment(files: dict[str, str], name: str, folder: Path) -> list[str]:
    (folder / f"{name}.env").write_text(files[f"{name}.server.env"], encoding="utf-8")
    return [SHELL or "sh", "-c", f'set -a; . ./{name}.env; exec llama-server "$@"', "sh", *WITHOUT_GPU]


def pick(study: Result, format: str, models: Path) -> dict[str, str]:
    return EXPORTERS[format](study, study.picked("balanced"), str(models))


@pytest.mark.parametrize("start", [as_script, as_environment])
@pytest.mark.parametrize("name", ["chat", "code"])
def test_both_forms_start_the_server_with_the_measured_settings(
    study: Result, models: Path, tmp_path: Path, start: Command, name: str
) -> None:
    command = start(pick(study, "llama-server", models), name, tmp_path)
    with served(command, tmp_path) as server:
        check(server, study, name)
        assert server.ask("/v1/models")["data"][0]["id"] == name


@pytest.mark.parametrize("name", ["chat", "code"])
def test_the_command_of_a_unit_starts_the_server_with_the_measured_settings(
    study: Result, models: Path, tmp_path: Path, name: str
) -> None:
    words = unit_words(pick(study, "systemd", models)[f"llama-server-{name}.service"])
    with served([str(TOOLS / words[0]), *words[1:], *WITHOUT_GPU], tmp_path) as server:
        check(server, study, name)


def test_the_router_loads_both_models_from_the_preset(study: Result, models: Path, tmp_path: Path) -> None:
    (tmp_path / "preset.ini").write_text(pick(study, "preset", models)["preset.ini"], encoding="utf-8")
    command = [str(TOOLS / "llama-server"), "--models-preset", "preset.ini", "--models-max", "2", *WITHOUT_GPU]
    with served(command, tmp_path) as router:
        deadline_s = time.monotonic() + 120
        while {entry["status"]["value"] for entry in router.ask("/models")["data"]} != {"loaded"}:
            assert time.monotonic() < deadline_s, router.logged()[-3000:]
            time.sleep(0.2)
        assert {entry["id"] for entry in router.ask("/models")["data"]} == {"chat", "code"}
        for name in study.models:
            body = {"model": name, "prompt": "Hello", "n_predict": 2, "temperature": 0}
            assert router.ask("/completion", body)["tokens_predicted"] >= 1
            assert router.ask(f"/props?model={name}")["model_path"] == str(models / study.models[name].file)


@pytest.mark.parametrize("name", [name for name in AWKWARD if "\0" not in name])
def test_the_server_opens_a_file_of_any_name(demo_pair: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / name).symlink_to(demo_pair["chat"])
    study = named(name, ("chat",))
    files = EXPORTERS["llama-server"](study, study.trial(0), str(folder))
    with served(as_script(files, "chat", tmp_path), tmp_path) as server:
        assert server.ask("/props")["model_path"] == str(folder / name)


def test_every_option_is_in_the_help_of_the_measured_llama_server() -> None:
    answer = subprocess.run([str(TOOLS / "llama-server"), "--help"], capture_output=True, text=True, check=True)
    files = EXPORTERS["llama-server"](demo(), demo().picked("balanced"), "/models")
    options = {word for word in shlex.split(files["chat.sh"], comments=True) if re.fullmatch(r"--[a-z-]+", word)}
    assert len(options) == 17
    assert options <= set(re.findall(r"--[a-z-]+", answer.stdout))
    variables = {line.partition("=")[0] for line in files["chat.server.env"].splitlines() if line[0] != "#"}
    assert variables <= set(re.findall(r"\(env: (LLAMA_ARG_[A-Z_]+)\)", answer.stdout))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_accepts_the_units(study: Result, models: Path, tmp_path: Path) -> None:
    for name, unit in pick(study, "systemd", models).items():
        # systemd wants the program to be there, which a unit names without its folder.
        (tmp_path / name).write_text(unit.replace("ExecStart=llama-server", f"ExecStart={TOOLS / 'llama-server'}"))
    units = [str(path) for path in tmp_path.glob("*.service")]
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert not [line for line in answer.stderr.splitlines() if str(tmp_path) in line or "llama-server-" in line]


def check(server: Served, study: Result, name: str) -> None:
    """The context that the server made is the trial's, whatever it was asked for."""
    engine, log = study.picked("balanced").settings[name], server.logged()
    for field in ("n_ctx", "n_batch", "n_ubatch"):
        assert context_value(log, field) == str(getattr(engine, field)), field
    assert context_value(log, "n_seq_max") == str(engine.n_parallel)
    assert context_value(log, "flash_attn") == "enabled"
    assert context_value(log, "kv_unified") == "false"
    assert server.ask("/props")["total_slots"] == engine.n_parallel
    assert server.ask("/completion", {"prompt": "Hello", "n_predict": 2})["tokens_predicted"] >= 1
