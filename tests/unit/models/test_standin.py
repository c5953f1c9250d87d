from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize

from layertune.errors import ModelFileError, UsageError
from layertune.models import read_shape
from layertune.models.gguf_header import Undecoded, read_header
from layertune.models.gguf_writer import TensorSpec
from layertune.models.known_models import KNOWN_MODELS, KnownModel, find_known, tensors
from layertune.models.random_weights import _BYTE_SCALES, _HALF_SCALES, RandomWeights
from layertune.models.standin import known_standin, standin_like
from layertune.models.vocabulary import make_vocabulary

TINY = KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)


@pytest.mark.parametrize("model", KNOWN_MODELS, ids=lambda model: model.name)
def test_a_stand_in_has_the_published_size_within_a_hundredth_of_a_percent(model: KnownModel) -> None:
    assert known_standin(model).file_bytes == pytest.approx(model.published_bytes, rel=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_a_stand_in_reads_back_with_its_tensors(tied: bool, tmp_path: Path) -> None:
    model = replace(TINY, tied=tied)
    standin = known_standin(model)
    standin.write(tmp_path / "a.gguf")
    shape = read_shape(tmp_path / "a.gguf")
    assert shape.file_bytes == standin.file_bytes
    assert (shape.n_layer, shape.quantization, shape.tied_embeddings) == (2, "Q4_K_M", tied)
    assert [(each.name, each.shape, each.type) for each in shape.tensors] == [
        (each.name, each.shape, each.type) for each in tensors(model)
    ]
    assert shape.metadata["layertune.standin"] is True
    assert "stand-in" in str(shape.name)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        known_standin(TINY).write(tmp_path / name, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_stand_in_of_any_gguf_has_its_metadata_and_tensors(tmp_path: Path) -> None:
    known_standin(TINY).write(tmp_path / "a.gguf")
    standin_like(tmp_path / "a.gguf").write(tmp_path / "b.gguf", seed=5)
    first, second = read_shape(tmp_path / "a.gguf"), read_shape(tmp_path / "b.gguf")
    assert second.metadata == first.metadata
    assert second.tensors == first.tensors


def test_a_split_template_of_another_alignment_gives_one_readable_file(tmp_path: Path) -> None:
    for number in range(2):
        writer = GGUFWriter(tmp_path / f"m-0000{number + 1}-of-00002.gguf", "qwen2")
        writer.add_custom_alignment(64)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        for add in (writer.add_block_count, writer.add_embedding_length, writer.add_context_length):
            add(3)
        writer.add_token_list(["a", "안녕"])
        for name in "ab":
            writer.add_tensor(f"{name}{number}.weight", np.zeros((2, 3), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    template = tmp_path / "m-00001-of-00002.gguf"
    standin_like(template).write(tmp_path / "out.gguf")
    shape = read_shape(tmp_path / "out.gguf")
    assert shape.files == (tmp_path / "out.gguf",)
    assert [(each.name, each.shape, each.type) for each in shape.tensors] == [
        (f"{name}{number}.weight", (3, 2), "F32") for number in range(2) for name in "ab"
    ]
    assert read_header(tmp_path / "out.gguf").metadata["tokenizer.ggml.tokens"] == Undecoded(2)


def test_a_part_file_of_somebody_else_survives_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    (tmp_path / "a.gguf.part").write_text("a download")
    with pytest.raises(ModelFileError, match="exists already"):
        known_standin(TINY).write(tmp_path / "a.gguf")
    with pytest.raises(ModelFileError, match="is a folder"):
        known_standin(TINY).write(tmp_path, overwrite=True)
    assert (tmp_path / "a.gguf.part").read_text() == "a download"


def test_a_row_that_256_does_not_divide_takes_llama_cpps_fallback() -> None:
    types = {each.name: each.type for each in tensors(find_known("Qwen2.5-0.5B-Instruct"))}
    assert types["token_embd.weight"] == "Q8_0"
    assert types["blk.0.attn_q.weight"] == "Q5_0"
    assert types["blk.0.ffn_down.weight"] == "Q6_K"


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("mine")
    with pytest.raises(ModelFileError, match="exists already"):
        known_standin(TINY).write(tmp_path / "a.gguf")
    known_standin(TINY).write(tmp_path / "a.gguf", overwrite=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.gguf"]


def test_a_stand_in_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    strange = replace(known_standin(TINY), tensors=(TensorSpec("a", (256,), "IQ1_M"),))
    with pytest.raises(ModelFileError, match="no stand-in has IQ1_M tensors yet"):
        strange.write(tmp_path / "a.gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["Qwen2.5-3B-Instruct", "qwen2.5-3b-instruct-q4_k_m.gguf", "QWEN2.5-3B-INSTRUCT-Q4_K_M"]
)
def test_names_are_found_whatever_their_case_and_ending(name: str) -> None:
    assert find_known(name).name == "Qwen2.5-3B-Instruct"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no stand-in is known for 'Llama-9'; choose one of Qwen2\.5-0\.5B-Instruct"):
        find_known("Llama-9")


@pytest.mark.parametrize("kind", [*sorted(_HALF_SCALES), *sorted(_BYTE_SCALES), "F32", "F16", "BF16"])
def test_random_weights_of_every_type_are_finite_and_as_small_as_trained_ones(kind: str) -> None:
    raw = b"".join(RandomWeights(0).fill(TensorSpec("blk.0.x.weight", (256, 64), kind)))
    values = dequantize(np.frombuffer(raw, dtype=np.uint8).reshape(64, -1), GGMLQuantizationType[kind])
    assert np.isfinite(values).all()
    assert 0.002 < values.std() < 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [("blk.0.attn_norm.weight", 1), ("rope_freqs.weight", 1), ("rope_factors_long.weight", 1), ("blk.0.ssm_a", -1)],
)
def test_tensors_that_noise_would_break_are_constant(name: str, value: float) -> None:
    raw = b"".join(RandomWeights(0).fill(TensorSpec(name, (8,), "F32")))
    assert np.frombuffer(raw, dtype=np.float32).tolist() == [value] * 8


def test_every_merge_joins_two_tokens_to_a_third() -> None:
    vocabulary = make_vocabulary(151_936)
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    assert len(ids) == len(vocabulary.tokens) == len(vocabulary.types) == 151_936
    for merge in vocabulary.merges:
        left, right = merge.split(" ")
        assert ids[left] < ids[left + right] > ids[right]
    assert vocabulary.tokens[vocabulary.end_of_turn] == "<|im_end|>"
    assert ids["<|endoftext|>"] == 151_643
