"""layertune recommend, and what a search writes before its first trial, over the emulated card."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import layertune
from layertune.config.env_file import load_env
from layertune.errors import Interrupted
from layertune.export.env import is_planned
from layertune.search.task import Event
from layertune.trial.messages import Stage
from layertune.units import MIB

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = "from layertune.cli.main import run; run()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def options(demo_pair: dict[str, Path]) -> list[str]:
    models = [part for name, path in demo_pair.items() for part in ("--model", f"{name}={path}")]
    fixed = [part for name in demo_pair for part in ("--set", f"{name}.n_batch=128", "--set", f"{name}.n_threads=1")]
    return [*models, "--device", "emulated:240MiB", *fixed]


def test_the_recommendation_fits_and_its_env_says_that_nothing_is_measured(
    demo_pair: dict[str, Path], tmp_path: Path
) -> None:
    env = tmp_path / "planned.env"
    answer = run("recommend", *options(demo_pair), "--json", "-o", str(env))
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert (found["measured"], found["emulated"]) == (False, True)
    best = found["recommended"]
    assert best["fits"]
    assert best["planned_bytes"] <= 240 * MIB
    assert set(best["expected_tokens_per_s"]) == set(demo_pair)
    assert {"fit-chat-first", "fit-code-first"} <= set(found["baselines"])
    assert is_planned(env)
    assert load_env(env)["CHAT_N_GPU_LAYERS"] == str(best["settings"]["chat"]["n_gpu_layers"])


def test_the_table_is_at_most_80_columns_wide(demo_pair: dict[str, Path]) -> None:
    answer = run("recommend", *options(demo_pair))
    assert answer.returncode == 0, answer.stderr
    assert "not measured yet" in answer.stdout
    table = answer.stdout.splitlines()[1:8]
    assert max(map(len, table)) <= 80


def test_nothing_that_fits_is_exit_status_3(demo_pair: dict[str, Path]) -> None:
    answer = run("recommend", *options(demo_pair), "--budget", "1MiB", "--set", "chat.n_gpu_layers=31")
    assert answer.returncode == 3
    assert len(answer.stderr.strip().splitlines()) == 1


def test_a_search_that_ends_before_its_first_trial_leaves_the_planned_env(
    demo_pair: dict[str, Path], tmp_path: Path
) -> None:
    space = {"n_batch": 128, "n_threads": 1, "n_ctx": 1024}
    workload = {"n_prompt": 64, "n_generate": 16}
    models = {name: {"path": str(path), "space": space, "workload": workload} for name, path in demo_pair.items()}
    said: list[str] = []
    config = layertune.parse_config({"name": "planned", "device": "emulated:240MiB", "models": models})
    study = layertune.open_study(config, said.append)
    folder = tmp_path / "study"

    def end(event: Event) -> None:
        if isinstance(event, Stage):
            assert is_planned(folder / ".env")
            raise KeyboardInterrupt

    for resume in (False, True):
        with pytest.raises(Interrupted):
            study.search(folder, resume=resume, on_event=end)
        assert is_planned(folder / ".env")
    assert not (folder / ".env.old").exists()
    assert [line for line in said if line.startswith("not measured yet")]


def test_ctrl_c_while_quality_is_measured_leaves_the_planned_env(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    chat, folder = demo_pair["chat"], tmp_path / "study"
    space = {"n_gpu_layers": [0, 31], "n_batch": 128, "n_threads": 1, "n_ctx": 1024, "type_k": ["f16", "q8_0"]}

    def end(words: str) -> None:
        if "measuring the quality" in words:
            assert is_planned(folder / ".env")
            raise KeyboardInterrupt

    models = {"chat": {"path": str(chat), "space": space}}
    config = layertune.parse_config({"device": "emulated:240MiB", "models": models})
    with pytest.raises(Interrupted, match="not measured yet"):
        layertune.open_study(config, end).search(folder)
    assert load_env(folder / ".env")["CHAT_MODEL"] == chat.name
