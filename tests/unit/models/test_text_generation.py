import pytest

from layertune.errors import ModelFileError
from layertune.models import check_generates
from small_shapes import shape


@pytest.mark.parametrize("architecture", ["llama", "qwen3moe", "mamba", "gemma4", "brand-new"])
def test_what_generates_text_is_planned(architecture: str) -> None:
    check_generates(shape(architecture))


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("bert", "an encoder, which makes embeddings"),
        ("gemma-embedding", "an encoder, which makes embeddings"),
        ("llada", "a diffusion model"),
        ("t5", "an encoder with a decoder"),
        ("eagle3", "a draft model"),
        ("qwen3tts", "a speech model"),
    ],
)
def test_what_does_not_is_refused_in_a_sentence(architecture: str, what: str) -> None:
    with pytest.raises(ModelFileError, match=f"its architecture, {architecture}, is {what}.*; give a model") as refused:
        check_generates(shape(architecture))
    assert refused.value.exit_status == 2


def test_a_model_that_its_header_makes_an_encoder_is_one() -> None:
    with pytest.raises(ModelFileError, match=r"attention\.causal is false"):
        check_generates(shape("llama-embed", attention__causal=False))


def test_an_encoder_s_memory_can_be_kept_free_for_it() -> None:
    free = r"; to serve this one too, keep its memory free with budget\.margin: [\d.]+ [KM]iB of weights, and its"
    for encoder in (shape("bert"), shape("llama-embed", attention__causal=False)):
        with pytest.raises(ModelFileError, match=free):
            check_generates(encoder)
    with pytest.raises(ModelFileError) as refused:
        check_generates(shape("llada"))
    assert str(refused.value).endswith("; give a model that generates text")
