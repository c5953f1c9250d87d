from pathlib import Path

import pytest

from layertune.errors import ModelFileError
from layertune.models import encoding, file_sha256, read_shape
from layertune.models.encoding import TensorPlan

KEYS = (
    encoding.key_string("general.architecture", "qwen2"),
    encoding.key_string("general.name", "tiny"),
    encoding.key_u32("general.file_type", 15),
    encoding.key_u32("qwen2.block_count", 2),
    encoding.key_u32("qwen2.embedding_length", 64),
    encoding.key_u32("qwen2.context_length", 512),
)


def write(path: Path, keys: tuple[bytes, ...], *names: str) -> Path:
    tensors = [TensorPlan(name, (64, 2), "F32") for name in names]
    data = b"\0" * sum(encoding.padded(tensor.n_bytes) for tensor in tensors)
    path.write_bytes(encoding.begin(keys, len(keys), tensors) + data)
    return path


def split_keys(number: int, n: int) -> tuple[bytes, ...]:
    marks = (encoding.key_u32("split.no", number), encoding.key_u32("split.count", n))
    return (*KEYS, *marks) if number == 0 else marks


def test_a_shape_tells_what_the_header_tells(tmp_path: Path) -> None:
    shape = read_shape(write(tmp_path / "a.gguf", KEYS, "token_embd.weight", "output.weight"))
    assert (shape.architecture, shape.name, shape.quantization) == ("qwen2", "tiny", "Q4_K_M")
    assert (shape.n_layer, shape.n_embd, shape.n_ctx_train) == (2, 64, 512)
    assert shape.file_bytes == (tmp_path / "a.gguf").stat().st_size
    assert shape.number("block_count") == 2
    assert shape.number("nothing") is None


def test_a_model_without_an_output_layer_has_tied_embeddings(tmp_path: Path) -> None:
    assert read_shape(write(tmp_path / "a.gguf", KEYS, "token_embd.weight")).tied_embeddings
    assert not read_shape(write(tmp_path / "b.gguf", KEYS, "token_embd.weight", "output.weight")).tied_embeddings


def test_a_split_model_is_read_whole_from_its_first_part(tmp_path: Path) -> None:
    first = write(tmp_path / "m-00001-of-00002.gguf", split_keys(0, 2), "token_embd.weight")
    second = write(tmp_path / "m-00002-of-00002.gguf", split_keys(1, 2), "output.weight")
    shape = read_shape(first)
    assert shape.files == (first, second)
    assert [(tensor.name, tensor.file) for tensor in shape.tensors] == [("token_embd.weight", 0), ("output.weight", 1)]
    assert shape.file_bytes == first.stat().st_size + second.stat().st_size


def test_a_later_part_or_a_missing_one_is_refused_with_the_right_name(tmp_path: Path) -> None:
    second = write(tmp_path / "m-00002-of-00002.gguf", split_keys(1, 2), "output.weight")
    with pytest.raises(ModelFileError, match=r"is part 2 of 2; give the first part, m-00001-of-00002\.gguf"):
        read_shape(second)
    first = write(tmp_path / "m-00001-of-00002.gguf", split_keys(0, 2), "token_embd.weight")
    second.unlink()
    with pytest.raises(ModelFileError, match=r"lacks m-00002-of-00002\.gguf"):
        read_shape(first)
    with pytest.raises(ModelFileError, match="is one of 2 parts; name it like"):
        read_shape(first.rename(tmp_path / "renamed.gguf"))


@pytest.mark.parametrize("n_keys", range(len(KEYS)))
def test_a_gguf_that_is_no_language_model_is_refused(n_keys: int, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="it has no"):
        read_shape(write(tmp_path / "a.gguf", KEYS[:n_keys], "token_embd.weight"))


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file, cache = tmp_path / "a.bin", tmp_path / "cache"
    file.write_bytes(b"abc")
    digest = file_sha256(file, cache)
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest in (cache / "sha256.json").read_text()
    file.write_bytes(b"abcd")
    assert file_sha256(file, cache) != digest


def test_a_damaged_digest_cache_costs_a_hash_and_nothing_else(tmp_path: Path) -> None:
    file, cache = tmp_path / "a.bin", tmp_path / "cache"
    file.write_bytes(b"abc")
    cache.mkdir()
    (cache / "sha256.json").write_text('{"torn')
    assert file_sha256(file, cache).startswith("ba7816bf")
    with pytest.raises(ModelFileError, match="cannot read"):
        file_sha256(tmp_path / "none", cache)
