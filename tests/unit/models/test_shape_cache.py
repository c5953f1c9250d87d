import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from layertune.errors import ModelFileError
from layertune.models import cached_shape, read_shape
from layertune.models.known_models import KnownModel
from layertune.models.skeleton import write_skeleton
from layertune.models.standin import known_standin

TINY = KnownModel("tiny", 2, 64, 128, 4, 2, n_vocab=400, tied=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    known_standin(TINY).write(path)
    return path


def test_a_remembered_shape_is_the_shape(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert cached_shape(model, cache) == read_shape(model)
    assert cached_shape(model, cache) == read_shape(model)
    assert len(list((cache / "shapes").iterdir())) == 1


def test_a_file_that_changed_is_read_again(model: Path, tmp_path: Path) -> None:
    cached_shape(model, tmp_path / "cache")
    known_standin(KnownModel("other", 3, 64, 128, 4, 2, n_vocab=400, tied=False)).write(model, overwrite=True)
    assert cached_shape(model, tmp_path / "cache").n_layer == 3


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"n_files": 1}', '{"tensors": 3, "n_files": 1}'])
def test_a_damaged_cache_costs_time_only(model: Path, tmp_path: Path, damage: str) -> None:
    first = cached_shape(model, tmp_path / "cache")
    (store,) = (tmp_path / "cache" / "shapes").iterdir()
    store.write_text(damage)
    assert cached_shape(model, tmp_path / "cache") == first


def test_a_cache_that_cannot_be_written_costs_time_only(model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert cached_shape(model, tmp_path / "cache") == read_shape(model)


def test_a_missing_file_is_the_error_of_reading_it(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot read"):
        cached_shape(tmp_path / "none.gguf", tmp_path / "cache")


def test_the_words_of_a_tokenizer_are_no_part_of_a_shape(model: Path) -> None:
    shape = read_shape(model)
    assert not [key for key in shape.metadata if key.startswith("tokenizer.")]
    assert json.loads(json.dumps(dict(shape.metadata))) == dict(shape.metadata)


def test_two_files_of_one_shape_have_one_digest(model: Path, tmp_path: Path) -> None:
    known_standin(TINY).write(tmp_path / "again.gguf", seed=9)
    assert read_shape(tmp_path / "again.gguf").digest() == read_shape(model).digest()
    known_standin(KnownModel("tiny", 2, 64, 192, 4, 2, n_vocab=400, tied=False)).write(tmp_path / "wider.gguf")
    assert read_shape(tmp_path / "wider.gguf").digest() != read_shape(model).digest()


def test_a_skeleton_has_the_model_s_tensors_no_words_and_no_data(model: Path, tmp_path: Path) -> None:
    shape = read_shape(model)
    write_skeleton(shape, tmp_path / "skeleton.gguf")
    skeleton = read_shape(tmp_path / "skeleton.gguf")
    assert skeleton.tensors == shape.tensors
    assert skeleton.metadata == {**shape.metadata, "qwen2.vocab_size": 400}
    if os.name == "posix":
        assert (tmp_path / "skeleton.gguf").stat().st_blocks * 512 < shape.file_bytes


def test_a_model_without_token_embedding_has_no_skeleton(model: Path, tmp_path: Path) -> None:
    model.write_bytes(model.read_bytes().replace(b"token_embd", b"token_umbd"))
    with pytest.raises(ModelFileError, match="has no token embedding"):
        write_skeleton(read_shape(model), tmp_path / "skeleton.gguf")


@pytest.mark.parametrize("extents", [(), (32,), (32, 0), (32, 2**22 + 1), (0, 2**40)])
def test_a_vocabulary_that_would_take_a_machine_s_memory_has_no_skeleton(
    extents: tuple[int, ...], model: Path, tmp_path: Path
) -> None:
    shape = read_shape(model)
    tensors = [replace(each, shape=extents) if each.name == "token_embd.weight" else each for each in shape.tensors]
    with pytest.raises(ModelFileError, match=r"token_embd\.weight is not of 1 to 4194304 tokens"):
        write_skeleton(replace(shape, tensors=tuple(tensors)), tmp_path / "skeleton.gguf")
