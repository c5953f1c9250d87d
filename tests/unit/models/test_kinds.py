"""What a model is for, by its header."""

import pytest

from layertune.errors import ModelFileError
from layertune.models.gguf_writer import TensorSpec
from layertune.models.kinds import is_causal, model_pooling
from layertune.pooling import Kind, Pooling, kind_of
from small_shapes import shape


@pytest.mark.parametrize("architecture", ["llama", "qwen3moe", "mamba", "gemma4", "brand-new"])
def test_what_generates_text_has_no_pooling(architecture: str) -> None:
    assert model_pooling(shape(architecture)) == model_pooling(shape(architecture), "generation") == ""


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("llada", "a diffusion model"),
        ("t5", "an encoder with a decoder"),
        ("t5encoder", "an encoder that llama-server does not run"),
        ("eagle3", "a draft model"),
        ("qwen3tts", "a speech model"),
    ],
)
def test_what_llama_server_does_not_run_is_refused_in_a_sentence(architecture: str, what: str) -> None:
    with pytest.raises(ModelFileError, match=f"its architecture, {architecture}, is {what}.*; give a model") as refused:
        model_pooling(shape(architecture))
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("architecture", "keys", "pooling"),
    [
        ("bert", {"pooling_type": 1}, "mean"),
        ("bert", {"pooling_type": 2}, "cls"),
        ("bert", {"pooling_type": 4}, "rank"),
        ("nomic-bert", {}, "mean"),
        ("gemma-embedding", {"pooling_type": 0}, "mean"),
        ("llama-embed", {"attention__causal": False}, "mean"),
        ("qwen3", {"pooling_type": 3}, "last"),
        ("qwen3", {"pooling_type": 4}, "rank"),
    ],
)
def test_embedding_and_reranking_models_are_known_by_their_header(
    architecture: str, keys: dict[str, int], pooling: Pooling
) -> None:
    assert model_pooling(shape(architecture, **keys)) == pooling


def test_only_a_causal_model_sees_the_tokens_before_each_token() -> None:
    assert is_causal(shape("qwen3", pooling_type=3))
    assert not is_causal(shape("bert"))
    assert not is_causal(shape("llama-embed", attention__causal=False))


def test_a_named_kind_counts_more_than_the_header() -> None:
    assert model_pooling(shape("qwen3"), "embedding") == "last"
    assert model_pooling(shape("qwen3", pooling_type=4), "embedding") == "last"
    assert model_pooling(shape("qwen3", pooling_type=3), "generation") == ""
    classifier = [TensorSpec("cls.output.weight", (256, 1), "F32")]
    assert model_pooling(shape("qwen3", more=classifier), "reranking") == "rank"


def test_a_model_that_cannot_do_what_is_named_is_refused() -> None:
    with pytest.raises(ModelFileError, match="bert, is an encoder, which generates no text"):
        model_pooling(shape("bert"), "generation")
    with pytest.raises(ModelFileError, match="has no classifier, which a reranking model needs"):
        model_pooling(shape("bert", pooling_type=1), "reranking")


@pytest.mark.parametrize(("pooling", "kind"), [("", "generation"), ("mean", "embedding"), ("rank", "reranking")])
def test_the_pooling_says_what_a_model_is_for(pooling: Pooling, kind: Kind) -> None:
    assert kind_of(pooling) == kind
