"""The config of `layertune init`: it can be searched as it is, and each of its examples is a valid line."""

import re
from pathlib import Path

import pytest

from layertune.config import HardwareProfile, StudyConfig, find_hardware, load_config
from layertune.errors import ConfigError, ModelFileError
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.study.first_config import first_config
from layertune.units import MIB

EXAMPLE = re.compile(r"^# (?=\w+ = )", re.MULTILINE)
MODELS = {"chat": "chat.gguf", "code": "code.gguf"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    known_standin(KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)).write(tmp_path / "chat.gguf")
    return tmp_path


def loaded(text: str, folder: Path) -> StudyConfig:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return load_config(folder / "mine.toml")


def written(folder: Path, hardware: str | None = None, budget: str | None = None) -> str:
    profile: HardwareProfile | None = None if hardware is None else find_hardware(hardware)
    return first_config(MODELS, folder / "mine.toml", profile=profile, budget=budget)


@pytest.mark.parametrize("hardware", [None, "rtx-4050-laptop", "rx-7600", "emulated-6gib"])
def test_it_is_a_valid_config_and_so_is_every_example_in_it(hardware: str | None, folder: Path) -> None:
    text = written(folder, hardware)
    config = loaded(text, folder)
    assert config.name == "mine"
    assert list(config.models) == ["chat", "code"]
    examples = list(EXAMPLE.finditer(text))
    assert len(examples) > 6
    for found in examples:
        before, after = text[: found.start()], text[found.end() :]
        if after.startswith("files = "):
            before = before[: before.rindex("path = ")]
        loaded(before + after, folder)


def test_a_card_s_memory_is_the_budget_less_what_other_programs_take(folder: Path) -> None:
    config = loaded(written(folder, "rtx-4050-laptop"), folder)
    assert (config.device, config.budget.vram, config.budget.margin) == ("auto", 6141 * MIB, 256 * MIB)
    emulated = loaded(written(folder, "emulated-6gib"), folder)
    assert (emulated.device, emulated.budget.vram) == ("emulated:6144MiB", 6144 * MIB)
    assert loaded(written(folder), folder).budget.vram is None
    assert loaded(written(folder, "rtx-4050-laptop", "2GiB"), folder).budget.vram == 2048 * MIB


def test_a_model_that_is_there_is_described_and_one_that_is_not_is_said_to_be_missing(folder: Path) -> None:
    text = written(folder)
    assert "2 layers" in text
    assert text.count("Not there yet") == 1


def test_what_is_wrong_is_said_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"budget\.vram"):
        written(folder, budget="3 apples")
    with pytest.raises(ConfigError, match="cannot name a model"):
        first_config({"Chat": "chat.gguf"}, folder / "mine.toml")
    (folder / "code.gguf").write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        written(folder)
