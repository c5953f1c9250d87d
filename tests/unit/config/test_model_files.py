"""Several files of a model: lists, patterns, and the command line."""

from pathlib import Path
from typing import Any

import pytest

from layertune.config import StudyConfig, parse_config
from layertune.config.overrides import Overrides, study_config
from layertune.errors import ConfigError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a-Q4.gguf", "a-Q8.gguf", "b.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf"):
        (tmp_path / name).write_text(name)
    return tmp_path


def parsed(folder: Path, **model: Any) -> StudyConfig:
    return parse_config({"models": {"chat": model}}, source="x.toml", folder=folder)


def test_files_are_a_list_or_a_pattern_in_the_order_of_the_names(folder: Path) -> None:
    assert list(parsed(folder, files=["b.gguf", "a-Q8.gguf"]).models["chat"].paths) == ["b.gguf", "a-Q8.gguf"]
    of_pattern = parsed(folder, files="a-*.gguf").models["chat"].paths
    assert of_pattern == {"a-Q4.gguf": folder / "a-Q4.gguf", "a-Q8.gguf": folder / "a-Q8.gguf"}


def test_of_a_split_model_a_pattern_finds_the_first_part_only(folder: Path) -> None:
    assert parsed(folder, files="big-*.gguf").models["chat"].paths == {"": folder / "big-00001-of-00002.gguf"}


def test_one_file_is_no_setting_and_some_of_the_files_can_be_searched(folder: Path) -> None:
    assert parsed(folder, path="b.gguf").paths == {"chat": folder / "b.gguf"}
    assert parsed(folder, files=["b.gguf"]).paths == {"chat": folder / "b.gguf"}
    three = {"files": ["b.gguf", "a-Q4.gguf", "a-Q8.gguf"]}
    two = parsed(folder, **three, space={"file": ["a-Q8.gguf", "b.gguf"]})
    assert list(two.paths) == ["chat/b.gguf", "chat/a-Q8.gguf"]
    assert parsed(folder, **three, space={"file": "a-Q8.gguf"}).paths == {"chat": folder / "a-Q8.gguf"}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({}, "models.chat: path is missing; add it, or files"),
        ({"path": "b.gguf", "files": ["b.gguf"]}, "path and files are both there; leave one of them out"),
        ({"files": []}, "x.toml: models.chat.files: [] names no file; write a path, a pattern like"),
        ({"files": ""}, "models.chat.files: [''] names no file; write a path"),
        ({"files": ["b.gguf", 3]}, "models.chat.files: ['b.gguf', 3] names no file; write a path"),
        ({"files": ["b.gguf"], "space": {"file": []}}, "models.chat.space.file: [] names no file; write a file's name"),
        ({"files": ["b.gguf"], "space": {"n_ctx": []}}, "models.chat.space.n_ctx is empty; give at least one value"),
        ({"files": "c-*.gguf"}, "models.chat.files: no file matches"),
        ({"files": ["b.gguf", "./b.gguf"]}, "are the same file; leave one of them out"),
        ({"files": ["b.gguf"], "space": {"file": "c.gguf"}}, "models.chat.space.file: there is no file c.gguf"),
        ({"path": "b.gguf", "space": {"file": "c.gguf"}}, "space.file is c.gguf, and the only file is b.gguf"),
    ],
)
def test_wrong_files_are_refused_in_one_sentence(folder: Path, model: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(folder, **model)
    assert words in str(caught.value)


def test_the_command_line_joins_files_with_commas_and_fixes_one_of_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    def config(model: str, *settings: str) -> StudyConfig:
        return study_config(None, Overrides([f"chat={model}"], None, None, list(settings)))

    assert list(config("b.gguf,a-Q8.gguf").paths) == ["chat/b.gguf", "chat/a-Q8.gguf"]
    assert config("b.gguf,a-Q8.gguf", "chat.file=a-Q8.gguf").paths == {"chat": folder / "a-Q8.gguf"}
    three = "b.gguf,a-Q8.gguf,a-Q4.gguf"
    assert list(config(three, "chat.file=b.gguf,a-Q4.gguf").paths) == ["chat/b.gguf", "chat/a-Q4.gguf"]
    with pytest.raises(ConfigError, match=r"models\.chat\.space\.file: there is no file c\.gguf; choose of b\.gguf"):
        config(three, "chat.file=b.gguf,c.gguf")
    with pytest.raises(ConfigError, match=r"models\.chat\.files: no file matches .*none-\*\.gguf; write a path"):
        config("none-*.gguf")
    (folder / "c,d.gguf").write_text("a name with a comma")
    assert config("c,d.gguf").paths == {"chat": folder / "c,d.gguf"}
    with pytest.raises(UsageError, match="a file without a name"):
        config("b.gguf,")


def test_different_files_of_one_name_in_two_models_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.gguf").write_bytes(b"")
    table = {"models": {name: {"path": f"{name}/model.gguf"} for name in ("a", "b")}}
    with pytest.raises(ConfigError, match=r"a and b have different files called model\.gguf.*rename one"):
        parse_config(table, folder=tmp_path)
    (tmp_path / "b" / "model.gguf").unlink()
    (tmp_path / "b" / "model.gguf").hardlink_to(tmp_path / "a" / "model.gguf")
    assert len(parse_config(table, folder=tmp_path).models) == 2
