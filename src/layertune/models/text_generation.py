"""Which models generate text token by token. Only these can be measured here and served by llama-server."""

from layertune.errors import ModelFileError
from layertune.models.shape import ModelShape
from layertune.units import format_bytes

# Encoders, which keep no context (src/llama-model.cpp: create_memory, llama_model_has_encoder,
# llama_model_has_decoder).
_ENCODERS = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert",
    "nomic-bert-moe", "t5encoder",
})  # fmt: skip
# src/llama-arch.cpp, llm_arch_is_diffusion.
_DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})
# Models that run only with another model, or generate no text.
_OTHERS = {
    "t5": "an encoder with a decoder, which llama-server does not run",
    "clip": "the projector of a multimodal model, not the model",
    "dflash": "a draft model, which runs only with another model",
    "eagle3": "a draft model, which runs only with another model",
    "gemma4-assistant": "a draft model, which runs only with another model",
    "pockettts": "a speech model, which generates no text",
    "qwen3tts": "a speech model, which generates no text",
    "wavtokenizer-dec": "a speech model, which generates no text",
}


def check_generates(shape: ModelShape) -> None:
    """Check that llama-server generates text with this model.

    Raises:
        ModelFileError: it does not; the message says what the model is.
    """
    kind = _kind(shape)
    if kind is not None:
        raise ModelFileError(
            f"{shape.files[0]} cannot be measured: its architecture, {shape.architecture}, is {kind}",
            remedy=f"give a model that generates text{_next_to_it(shape)}",
        )


def _next_to_it(shape: ModelShape) -> str:
    """Return how to keep the memory of an embedding model free, which llama-server can serve; else nothing."""
    if not _is_encoder(shape):
        return ""
    weights = format_bytes(sum(tensor.n_bytes for tensor in shape.tensors))
    return f"; to serve this one too, keep its memory free with budget.margin: {weights} of weights, and its buffers"


def _is_encoder(shape: ModelShape) -> bool:
    return shape.architecture in _ENCODERS or shape.number("attention.causal") is False


def _kind(shape: ModelShape) -> str | None:
    if shape.architecture in _DIFFUSION:
        return "a diffusion model, which does not generate text token by token"
    if shape.architecture in _ENCODERS:
        return "an encoder, which makes embeddings and generates no text"
    if shape.number("attention.causal") is False:
        return "used as an encoder here (attention.causal is false), which generates no text"
    return _OTHERS.get(shape.architecture)
