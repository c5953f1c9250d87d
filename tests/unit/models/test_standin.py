from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from layertune.errors import ModelFileError, UsageError
from layertune.models import read_shape
from layertune.models.blocks import _HALF_SCALES, RandomWeights
from layertune.models.encoding import TensorPlan
from layertune.models.known import KNOWN_MODELS, KnownModel, find_known, tensors
from layertune.models.standin import plan_standin, plan_standin_like
from layertune.models.vocabulary import make_vocabulary

TINY = KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)


@pytest.mark.parametrize("model", KNOWN_MODELS, ids=lambda model: model.name)
def test_a_stand_in_has_the_published_size_within_a_hundredth_of_a_percent(model: KnownModel) -> None:
    assert plan_standin(model).file_bytes == pytest.approx(model.published_bytes, rel=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_a_stand_in_reads_back_with_its_tensors(tied: bool, tmp_path: Path) -> None:
    model = replace(TINY, tied=tied)
    standin = plan_standin(model)
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
        plan_standin(TINY).write(tmp_path / name, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_stand_in_of_any_gguf_has_its_metadata_and_tensors(tmp_path: Path) -> None:
    plan_standin(TINY).write(tmp_path / "a.gguf")
    plan_standin_like(tmp_path / "a.gguf").write(tmp_path / "b.gguf", seed=5)
    first, second = read_shape(tmp_path / "a.gguf"), read_shape(tmp_path / "b.gguf")
    assert second.metadata == first.metadata
    assert second.tensors == first.tensors


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("mine")
    with pytest.raises(ModelFileError, match="is there already"):
        plan_standin(TINY).write(tmp_path / "a.gguf")
    plan_standin(TINY).write(tmp_path / "a.gguf", overwrite=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.gguf"]


def test_a_stand_in_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    strange = replace(plan_standin(TINY), tensors=(TensorPlan("a", (256,), "IQ1_M"),))
    with pytest.raises(ModelFileError, match="no stand-in has IQ1_M tensors yet"):
        strange.write(tmp_path / "a.gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["Qwen2.5-3B-Instruct", "qwen2.5-3b-instruct-q4_k_m.gguf", "QWEN2.5-3B-INSTRUCT-Q4_K_M"]
)
def test_names_are_found_whatever_their_case_and_ending(name: str) -> None:
    assert find_known(name).name == "Qwen2.5-3B-Instruct"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no stand-in is known for 'Llama-9'; choose one of Qwen2\.5-1\.5B-Instruct"):
        find_known("Llama-9")


@pytest.mark.parametrize("kind", [*sorted(_HALF_SCALES), "F32", "F16", "BF16"])
def test_random_weights_of_every_type_are_finite_and_as_small_as_trained_ones(kind: str) -> None:
    raw = b"".join(RandomWeights(0).fill(TensorPlan("blk.0.x.weight", (256, 64), kind)))
    values = dequantize(np.frombuffer(raw, dtype=np.uint8).reshape(64, -1), GGMLQuantizationType[kind])
    assert np.isfinite(values).all()
    assert 0.002 < values.std() < 0.1


def test_norms_are_ones() -> None:
    raw = b"".join(RandomWeights(0).fill(TensorPlan("blk.0.attn_norm.weight", (8,), "F32")))
    assert np.frombuffer(raw, dtype=np.float32).tolist() == [1.0] * 8


def test_every_merge_joins_two_tokens_to_a_third() -> None:
    vocabulary = make_vocabulary(151_936)
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    assert len(ids) == len(vocabulary.tokens) == len(vocabulary.types) == 151_936
    for merge in vocabulary.merges:
        left, right = merge.split(" ")
        assert ids[left] < ids[left + right] > ids[right]
    assert vocabulary.tokens[vocabulary.end_of_turn] == "<|im_end|>"
    assert ids["<|endoftext|>"] == 151_643
