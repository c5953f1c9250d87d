import sys
from pathlib import Path

import pytest

from layertune.errors import ModelFileError
from layertune.models import file_sha256, gguf_writer, read_shape
from layertune.models.gguf_writer import TensorSpec

KEYS = (
    gguf_writer.key_string("general.architecture", "qwen2"),
    gguf_writer.key_string("general.name", "tiny"),
    gguf_writer.key_u32("general.file_type", 15),
    gguf_writer.key_u32("qwen2.block_count", 2),
    gguf_writer.key_u32("qwen2.embedding_length", 64),
    gguf_writer.key_u32("qwen2.context_length", 512),
)


def write(path: Path, keys: tuple[bytes, ...], *names: str) -> Path:
    tensors = [TensorSpec(name, (64, 2), "F32") for name in names]
    data = b"\0" * sum(gguf_writer.padded(tensor.n_bytes) for tensor in tensors)
    path.write_bytes(gguf_writer.begin(keys, len(keys), tensors) + data)
    return path


def split_keys(number: int, n: int) -> tuple[bytes, ...]:
    marks = (gguf_writer.key_u32("split.no", number), gguf_writer.key_u32("split.count", n))
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


@pytest.mark.parametrize(("architecture", "n_layer"), [("qwen2", 2), ("nanbeige", 6), ("graniteswitch", 3)])
def test_layers_are_counted_as_llama_cpp_does(architecture: str, n_layer: int, tmp_path: Path) -> None:
    """nanbeige runs its blocks `num_loops` times, graniteswitch adds a layer for its router."""
    counts = {"block_count": 2, "embedding_length": 64, "context_length": 512, "num_loops": 3}
    keys = [gguf_writer.key_u32(f"{architecture}.{key}", count) for key, count in counts.items()]
    named = gguf_writer.key_string("general.architecture", architecture)
    assert read_shape(write(tmp_path / "a.gguf", (named, *keys), "token_embd.weight")).n_layer == n_layer


def test_a_split_model_is_read_whole_from_its_first_part(tmp_path: Path) -> None:
    first = write(tmp_path / "m-00001-of-00002.gguf", split_keys(0, 2), "token_embd.weight")
    second = write(tmp_path / "m-00002-of-00002.gguf", split_keys(1, 2), "output.weight")
    shape = read_shape(first)
    assert shape.files == (first, second)
    assert [(tensor.name, tensor.file) for tensor in shape.tensors] == [("token_embd.weight", 0), ("output.weight", 1)]
    assert shape.file_bytes == first.stat().st_size + second.stat().st_size


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege")
def test_parts_may_be_links_to_files_of_other_names_as_in_hugging_face_s_cache(tmp_path: Path) -> None:
    for part in (1, 2):
        blob = write(tmp_path / f"blob{part}", split_keys(part - 1, 2), ("token_embd", "output")[part - 1] + ".weight")
        (tmp_path / f"m-0000{part}-of-00002.gguf").symlink_to(blob.name)
    found = read_shape(tmp_path / "m-00001-of-00002.gguf")
    assert [file.name for file in found.files] == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    assert [tensor.file for tensor in found.tensors] == [0, 1]


@pytest.mark.parametrize(
    ("number", "promised", "words"),
    [(0, 2, r"m-00002-of-00002\.gguf is not part 2 of its model"), (1, 3, "hold 2 tensors where it promises 3")],
)
def test_parts_that_do_not_belong_together_are_refused(number: int, promised: int, words: str, tmp_path: Path) -> None:
    keys = (*split_keys(0, 2), gguf_writer.key_u32("split.tensors.count", promised))
    first = write(tmp_path / "m-00001-of-00002.gguf", keys, "token_embd.weight")
    write(tmp_path / "m-00002-of-00002.gguf", (*KEYS, *split_keys(number, 2)[-2:]), "output.weight")
    with pytest.raises(ModelFileError, match=words):
        read_shape(first)


def test_a_count_of_parts_that_the_name_denies_is_refused_at_once(tmp_path: Path) -> None:
    first = write(tmp_path / "m-00001-of-00002.gguf", split_keys(0, 2**31), "token_embd.weight")
    with pytest.raises(ModelFileError, match="one of 2147483648 parts, but its name has another number"):
        read_shape(first)


def test_a_vocabulary_alone_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is no model: it has no tensors"):
        read_shape(write(tmp_path / "a.gguf", KEYS))


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


def with_keys(*keys: bytes, without: int | None = None) -> tuple[bytes, ...]:
    return (*(key for number, key in enumerate(KEYS) if number != without), *keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            with_keys(gguf_writer.key_u32("qwen2.block_count", 2**31), without=3),
            "block_count is 2147483648, .* 1 to 512",
        ),
        (with_keys(gguf_writer.key_u32("qwen2.block_count", 513), without=3), "block_count is 513, .* 1 to 512"),
        (with_keys(gguf_writer.key_bool("qwen2.block_count", True), without=3), "block_count is no whole number"),
        (
            with_keys(gguf_writer.key_u32("qwen2.num_loops", 257)),
            "block_count times num_loops is more than .* 512 layers",
        ),
        (with_keys(gguf_writer.key_u32("qwen2.expert_count", 1025)), "expert_count is 1025, .* 0 to 1024"),
        (
            with_keys(gguf_writer.key_u32("qwen2.nextn_predict_layers", 3)),
            "nextn_predict_layers is more than block_count",
        ),
        (with_keys(gguf_writer.key_f32("qwen2.attention.head_count", 2.0)), "head_count is no whole number"),
        (
            with_keys(gguf_writer.key_i32s("qwen2.attention.head_count_kv", [1])),
            "head_count_kv has 1 numbers for 2 layers",
        ),
        (
            with_keys(gguf_writer.key_i32s("qwen2.attention.head_count_kv", [1, -1])),
            "head_count_kv is -1, .* 0 to 4294967295",
        ),
        (with_keys(gguf_writer.key_i32s("qwen2.attention.key_length", [1, 1])), "key_length is no whole number"),
        (with_keys(gguf_writer.key_string("qwen2.attention.sliding_window", "4")), "sliding_window is no whole number"),
        (with_keys(gguf_writer.key_f32("qwen2.ssm.state_size", float("nan"))), "state_size is no whole number"),
    ],
)
def test_a_number_that_llama_cpp_does_not_take_is_refused_with_its_range(
    keys: tuple[bytes, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=words) as caught:
        read_shape(write(tmp_path / "a.gguf", keys, "token_embd.weight"))
    assert "a.gguf: qwen2." in str(caught.value)


@pytest.mark.parametrize(
    "name", ["blk.2.attn_q.weight", "blk.99999999999999999999.attn_q.weight", "dec.blk.2.x.weight"]
)
def test_a_tensor_of_a_layer_that_the_model_does_not_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=f"has a tensor '{name}' and 2 layers"):
        read_shape(write(tmp_path / "a.gguf", KEYS, "token_embd.weight", name))


def test_of_many_missing_parts_only_the_first_are_named(tmp_path: Path) -> None:
    first = write(tmp_path / "m-00001-of-65535.gguf", split_keys(0, 65535), "token_embd.weight")
    with pytest.raises(ModelFileError, match=r"m-00031-of-65535\.gguf and more; put all parts"):
        read_shape(first)


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file, cache = tmp_path / "a.bin", tmp_path / "cache"
    file.write_bytes(b"abc")
    digest = file_sha256(file, cache)
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest in (cache / "sha256.json").read_text()
    file.write_bytes(b"abcd")
    assert file_sha256(file, cache) != digest


@pytest.mark.parametrize("damage", ['{"torn', "[]", "{}", "\xff"])
def test_a_damaged_digest_cache_costs_a_hash_and_nothing_else(damage: str, tmp_path: Path) -> None:
    file, cache = tmp_path / "a.bin", tmp_path / "cache"
    file.write_bytes(b"abc")
    cache.mkdir()
    (cache / "sha256.json").write_text(damage, encoding="latin-1")
    assert file_sha256(file, cache).startswith("ba7816bf")
    with pytest.raises(ModelFileError, match="cannot read"):
        file_sha256(tmp_path / "none", cache)
    assert [entry.name for entry in cache.iterdir()] == ["sha256.json"]


def test_a_remembered_digest_that_is_no_text_is_not_believed(tmp_path: Path) -> None:
    file, cache = tmp_path / "a.bin", tmp_path / "cache"
    file.write_bytes(b"abc")
    digest = file_sha256(file, cache)
    store = cache / "sha256.json"
    store.write_text(store.read_text().replace(f'"{digest}"', "7"))
    assert file_sha256(file, cache) == digest
