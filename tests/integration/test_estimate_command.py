"""layertune estimate, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from layertune.units import MIB

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

ROOT = Path(__file__).parents[2]


def layertune(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = "from layertune.cli.main import run; run()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def models(demo_pair: dict[str, Path]) -> list[str]:
    return [part for name, path in demo_pair.items() for part in ("--model", f"{name}={path}")]


def estimate(*arguments: str) -> dict[str, Any]:
    answer = layertune("estimate", *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def test_the_json_is_the_contract(models: list[str]) -> None:
    report = estimate(
        *models, "--device", "emulated:240MiB", "--set", "chat.n_gpu_layers=12", "--set", "code.n_ctx=1024"
    )
    assert report["budget_bytes"] == 240 * MIB
    assert report["models"]["chat"]["settings"]["n_gpu_layers"] == 12
    assert report["models"]["code"]["settings"]["n_gpu_layers"] == 19
    assert report["models"]["code"]["settings"]["n_ctx"] == 1024
    for device in ("gpu0", "host"):
        parts = [model["devices"][device] for model in report["models"].values()]
        for part in parts:
            of_it = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes", "overhead_bytes")
            assert part["total_bytes"] == sum(part[name] for name in of_it)
        assert report["total"][device] == sum(part["total_bytes"] for part in parts)
    assert report["fits"] is (report["total"]["gpu0"] <= 240 * MIB)


def test_the_most_layers_that_fit_do_fit_and_one_more_does_not(models: list[str]) -> None:
    card = ("--device", "emulated:300MiB", "--set", "chat.n_gpu_layers=12")
    most = estimate(*models, *card)["models"]["code"]["most_gpu_layers"]
    assert 0 < most < 19
    assert estimate(*models, *card, "--set", f"code.n_gpu_layers={most}")["fits"] is True
    assert estimate(*models, *card, "--set", f"code.n_gpu_layers={most + 1}")["fits"] is False


def test_the_table_says_what_fits_on_what_and_that_it_is_emulated(models: list[str]) -> None:
    answer = layertune("estimate", *models, "--device", "emulated:64MiB")
    assert answer.returncode == 0
    assert "nothing loaded: emulated card, 64.0 MiB" in answer.stdout
    assert "(EMULATED)" in answer.stdout
    assert "DOES NOT FIT" in answer.stdout
    assert "n_gpu_layers of code, the others as they are: not even 0 fit" in answer.stdout


def test_without_a_device_there_is_no_budget(models: list[str]) -> None:
    report = estimate(*models, "--device", "cpu")
    assert report["budget_bytes"] is None
    assert report["total"]["gpu0"] == 0
    assert report["fits"] is True


def test_settings_that_llama_cpp_refuses_have_no_sum(models: list[str]) -> None:
    refused = ("--set", "chat.flash_attn=off", "--set", "chat.type_v=q8_0")
    report = estimate(*models, "--device", "emulated:240MiB", *refused)
    assert report["fits"] is None
    assert report["total"]["gpu0"] is None


def test_a_scenario_is_held_against_the_plan_without_any_model_file() -> None:
    answer = layertune("estimate", "--scenario", str(ROOT / "configs" / "scenarios" / "worksheet.toml"), "--json")
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    spare = {each["name"]: each["spare_bytes"] for each in report["scenarios"]}
    # benchmarks/worksheet/scenarios.json: what the card refused and allowed, measured.
    assert spare["1: 7B + 7B"] == pytest.approx(-2_488_988_736, abs=40_000)
    assert spare["2: 3B + 7B"] == pytest.approx(-6_855_744, abs=40_000)
    assert spare["3: 3B + 20 layers of 7B"] == pytest.approx(1_283_959_744, abs=40_000)
    sizes = {each["name"]: each["file_bytes"] for each in report["files"]}
    assert sizes["qwen-14b"] == pytest.approx(8_988_110_976, rel=0.001)


def test_models_over_their_ram_limit_do_not_fit(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        f'device = "emulated:300MiB"\nhost.ram_per_model = "64MiB"\nmodels.code.path = "{demo_pair["code"]}"\n'
        "models.code.space.n_gpu_layers = 0\n"
    )
    report = estimate(str(tmp_path / "a.toml"))
    assert report["models"]["code"]["ram_bytes"] > report["ram_per_model_bytes"] == 64 * MIB
    assert report["fits"] is False
    assert "code exceeds its RAM limit of 64.0 MiB by" in layertune("estimate", str(tmp_path / "a.toml")).stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 1", "name"),
        ("[scenarios", "is not TOML"),
        ('name = "a"\ndevice = "emulated:1GiB"\n[files.a]\nmodel = "x"\n[[scenarios]]\nname = "1"\nmodels.chat = '
         '{ file = "b", n_gpu_layers = 1 }', "chat has no file b; the files are a"),
        ('name = "a"\ndevice = "emulated:1GiB"\n[files.a]\nmodel = "x"\n[[scenarios]]\nname = "1"\nmodels.chat = '
         '{ file = "a", n_gpu_layers = 1 }', "no stand-in is known for 'x'"),
    ],
)  # fmt: skip
def test_a_wrong_scenario_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    answer = layertune("estimate", "--scenario", str(tmp_path / "a.toml"))
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
