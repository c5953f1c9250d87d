"""layertune export --explain, as a user starts it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from explained import study
from layertune.cli.main import app
from layertune.errors import UsageError
from layertune.results.result import write_result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_result(study(), tmp_path / "result.json")
    return tmp_path


def explained(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["export", str(folder), "--explain", *options], catch_exceptions=False)


def test_the_table_is_printed_with_what_each_figure_is(folder: Path) -> None:
    printed = explained(folder).stdout
    assert "Trial 0 of golden (EMULATED: bytes are exact, speeds are this CPU's)" in printed
    words = " ".join(printed.split())
    assert "Steps that free memory of the device, least speed lost per byte first" in words
    assert "chat n_gpu_layers 20 → 19 -1.00" in words
    assert "measured: trial 1 -10.0 MiB" in words
    assert "Steps that gain speed, most first" in words
    assert "No further step:" in words
    assert "Coexist or swap? No verdict, since this is missing: how many layers of code fit alone" in words


def test_bytes_that_cannot_be_planned_here_are_said_to_be_missing_on_standard_error(folder: Path) -> None:
    assert f"left out: there is no {folder}/study.toml" in explained(folder).stderr.replace("\n", "")


def test_a_config_whose_models_are_not_here_plans_nothing(folder: Path) -> None:
    models = "".join(f'[models.{name}]\npath = "gone.gguf"\n' for name in ("chat", "code"))
    (folder / "study.toml").write_text(f'name = "golden"\ndevice = "cpu"\n{models}', encoding="utf-8")
    answer = explained(folder)
    assert "left out: " in answer.stderr
    assert "gone.gguf" in answer.stderr
    assert "no recorded plan" in " ".join(answer.stdout.split())


def test_json_has_the_same_lines_and_the_verdict(folder: Path) -> None:
    told: Any = json.loads(explained(folder, "--json").stdout)
    assert told["emulated"] is True
    assert told["trial"] == 0
    first = next(line for line in told["lines"] if line["knob"] == "n_gpu_layers" and line["to"] == 19)
    assert (first["speed"]["source"], first["speed"]["trial"], first["memory"]["source"]) == ("measured", 1, "measured")
    assert first["memory"]["device_bytes"] == -10 * 2**20
    assert told["swap"]["missing"]


def test_another_trial_can_be_explained(folder: Path) -> None:
    assert json.loads(explained(folder, "--json", "--pick", "3").stdout)["trial"] == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--explain", "-o", "x"], "-o is about files, and --explain prints"),
        (["--explain", "--compat", "worksheet"], "--compat is about files"),
        (["--explain", "--format", "env"], "--format is about files, and --explain prints"),
        (["--explain", "--format", "json"], "--format is about files"),
        (["--explain", "--models-dir", "/models"], "--models-dir is about files"),
        (["--json"], "--json goes with --explain"),
        (["--explain", "--pick", "lean"], "'lean' is not a pick of this study"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(folder: Path, options: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CliRunner().invoke(app, ["export", str(folder), *options], catch_exceptions=False)
