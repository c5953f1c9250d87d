"""layertune predict, as a user runs it: plans are llama.cpp's own, the study's speeds are made up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import predictable_study
from layertune.units import MIB

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

PROFILE = """
name = "{name}"
[device]
kind = "{kind}"
name = "{device}"
{more}
"""


def layertune(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from layertune.cli.main import run; run()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return predictable_study.write(tmp_path_factory.mktemp("studies") / "small")


def profile(folder: Path, size: str, kind: str = "emulated", device: str = "emulated card", more: str = "") -> Path:
    vram = f'[device.vram]\nsize = "{size}"\nsource = "chosen"\n'
    path = folder / f"{kind}-{size}.toml"
    path.write_text(PROFILE.format(name=path.stem, kind=kind, device=device, more=more + vram), encoding="utf-8")
    return path


def predicted(study: Path, card: Path) -> dict[str, Any]:
    answer = layertune("predict", study, "--hardware", card, "--json")
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def test_a_larger_card_has_more_layers_and_every_setting_fits_it(study: Path, tmp_path: Path) -> None:
    small, large = (predicted(study, profile(tmp_path, size)) for size in ("2MiB", "64MiB"))
    assert all(each["planned_bytes"] <= 2 * MIB for each in small["front"])
    whole = large["front"][large["picks"]["balanced"]]["models"]
    assert {name: each["settings"]["n_gpu_layers"] for name, each in whole.items()} == {"chat": 5, "code": 7}
    assert whole["code"]["beyond"] is True  # no trial had more than 3 layers of it there
    assert large["predicted"] is True
    assert large["card"]["vram_bytes"] == large["budget"]["vram_bytes"] == 64 * MIB
    assert large["changes"] == {}
    assert large["error"]["coverage"] >= 0.8


def test_the_table_says_predicted_and_emulated_and_how_far_off(study: Path, tmp_path: Path) -> None:
    answer = layertune("predict", study, "--hardware", profile(tmp_path, "8MiB"))
    assert (answer.returncode, answer.stderr) == (0, "")
    text = " ".join(answer.stdout.split())
    assert "PREDICTED front on emulated-8MiB (emulated card, 8.0 MiB, 2 device threads, EMULATED" in text
    assert "nothing of this was measured" in text
    assert "Intervals are made for 90% of what a trial of another session would measure, which is no promise." in text
    assert "are inside their interval. Predicted from trials with less of the model on the device only" in text
    assert "Pick balanced: n_gpu_layers chat 5" in text
    assert "±" not in text
    assert "Scaled: nothing: an emulated card of another size computes on the same processor." in text
    assert "another shape on a GPU" in text


def test_what_a_thread_less_costs_is_a_range(study: Path, tmp_path: Path) -> None:
    answer = layertune("predict", study, "--hardware", profile(tmp_path, "8MiB", more="n_threads = 1\n"))
    assert (answer.returncode, answer.stderr) == (0, "")
    text = " ".join(answer.stdout.split())
    assert "1 device thread, EMULATED" in text
    assert "by 1.00 to 2.00: 1 of the card's threads instead of 2; how much of the work they share is not known" in text


def test_a_prediction_stands_marked_beside_the_study_that_it_is_of(study: Path, tmp_path: Path) -> None:
    card, file = profile(tmp_path, "8MiB"), tmp_path / "predicted.json"
    answer = layertune("predict", study, "--hardware", card, "-o", file)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", f"wrote {file}\n")
    compared = layertune("compare", study, file, "--markdown")
    assert (compared.returncode, compared.stderr) == (0, "")
    assert "| predicted (PREDICTED) | – | layers " in compared.stdout
    assert "PREDICTED: computed by layertune predict from another card's trials" in compared.stdout
    told = json.loads(layertune("compare", study, file, "--json").stdout)
    assert [each["predicted"] for each in told["studies"]] == [False, True]
    assert told["pairs"] == []
    alone = layertune("compare", file, file)
    assert (alone.returncode, "only predictions are given" in alone.stderr) == (2, True)


def test_a_prediction_cannot_pass_for_a_study(study: Path, tmp_path: Path) -> None:
    file = tmp_path / "predicted.json"
    assert layertune("predict", study, "--hardware", profile(tmp_path, "8MiB"), "-o", file).returncode == 0
    for command in (("pareto", file), ("export", file), ("report", file)):
        answer = layertune(*command)
        assert (answer.returncode, "is not a layertune result" in answer.stderr) == (2, True)


def test_what_cannot_be_predicted_is_one_sentence(study: Path, tmp_path: Path) -> None:
    gpu = profile(tmp_path, "8GiB", kind="gpu", device="A card")
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "result.json").write_text((study / "result.json").read_text())
    modelless = predictable_study.write(tmp_path / "modelless")
    (modelless / "code.gguf").unlink()
    for folder, card, words in (
        (study, gpu, "the study's device was an emulated card and gpu-8GiB is a GPU"),
        (study, Path("rtx-9999"), "there is no hardware profile rtx-9999"),
        (lonely, gpu, "has no study.toml"),
        (modelless, profile(tmp_path, "8MiB"), "code.gguf is no model whose shape layertune knows by itself"),
    ):
        answer = layertune("predict", folder, "--hardware", card)
        assert (answer.returncode, answer.stdout) == (2, ""), words
        assert words in answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_card_that_nothing_fits_has_the_exit_status_of_its_own(study: Path, tmp_path: Path) -> None:
    config = (study / "study.toml").read_text().replace("n_batch = 16 }", "n_batch = 16, n_gpu_layers = { min = 1 } }")
    folder = predictable_study.write(tmp_path / "least")
    (folder / "study.toml").write_text(config)
    answer = layertune("predict", folder, "--hardware", profile(tmp_path, "1MiB"))
    assert (answer.returncode, answer.stdout) == (3, "")
    assert "no setting fits the budget of 1.0 MiB" in answer.stderr
