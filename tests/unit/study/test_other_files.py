"""Commands that are given a study say where the model files here are not the ones that it measured."""

from pathlib import Path

import pytest

from layertune.results.result import Result
from layertune.study.other_files import other_files
from layertune.verify.checklist import files
from layertune.verify.stack import stack_of
from tiny_stack import write_models, write_study


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_models(tmp_path)
    return tmp_path


@pytest.fixture
def study(models: Path, tmp_path: Path) -> Result:
    return write_study(tmp_path / "study", models, "cpu", None)


def test_the_studys_own_files_need_no_word(study: Result, tmp_path: Path) -> None:
    assert list(other_files(tmp_path / "study", study)) == []


def test_another_file_in_a_models_place_is_a_sentence(study: Result, tmp_path: Path) -> None:
    model = tmp_path / "code.gguf"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    (sentence,) = other_files(tmp_path / "study", study)
    assert sentence.startswith("code: ")
    assert sentence.endswith("code.gguf is not the file that the study measured; search again to tune for this one")


def test_files_that_are_not_here_need_no_word(study: Result, tmp_path: Path) -> None:
    (tmp_path / "code.gguf").unlink()
    assert list(other_files(tmp_path / "study", study)) == []
    assert list(other_files(tmp_path / "elsewhere", study)) == []


def test_every_part_of_a_split_model_is_the_studys(study: Result, tmp_path: Path) -> None:
    """Verification checks each part by its own SHA-256."""
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    for name in names:
        (tmp_path / name).write_text("abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    info = study.models["chat"].model_copy(update={"file": names[0], "sha256": abc, "further_sha256": [abc]})
    result = study.model_copy(update={"models": study.models | {"chat": info}})
    folders = dict.fromkeys(result.models, tmp_path)
    stack = stack_of(result, result.trials[0], folders, {})
    assert [check.state for check in files(stack)] == ["passed", "passed"]
    (tmp_path / names[1]).write_text("abd")
    assert [check.state for check in files(stack)] == ["failed", "passed"]
    assert files(stack)[0].evidence == f"{names[1]} is not the file that the study measured (sha256)"
    (tmp_path / names[1]).unlink()
    assert files(stack)[0].evidence.startswith(f"there is no file {names[1]}")
