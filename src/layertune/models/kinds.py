"""Which models llama-server runs, and what for: to generate text, for embeddings, or to rank documents."""

from layertune.errors import ModelFileError
from layertune.models.shape import ModelShape
from layertune.pooling import POOLING_NUMBERS, Kind, Pooling

# Encoders (src/llama-model.cpp, create_memory: no memory).
_ENCODERS = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert",
    "nomic-bert-moe",
})  # fmt: skip
# src/llama-arch.cpp, llm_arch_is_diffusion.
_DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})
# Models that run only with another model, or that llama-server does not run.
_OTHERS = {
    "t5": "an encoder with a decoder, which llama-server does not run",
    "t5encoder": "an encoder that llama-server does not run",
    "clip": "the projector of a multimodal model, not the model",
    "dflash": "a draft model, which runs only with another model",
    "eagle3": "a draft model, which runs only with another model",
    "gemma4-assistant": "a draft model, which runs only with another model",
    "pockettts": "a speech model, which generates no text",
    "qwen3tts": "a speech model, which generates no text",
    "wavtokenizer-dec": "a speech model, which generates no text",
}
_NAMES: dict[object, Pooling] = {number: pooling for pooling, number in POOLING_NUMBERS.items()}
_CLASSIFIER = ("cls.weight", "cls.output.weight")  # src/llama-graph.cpp, build_pooling


def is_causal(shape: ModelShape) -> bool:
    """Return whether each token sees only the tokens before it, so that a prompt can be computed in several batches."""
    return shape.architecture not in _ENCODERS and shape.number("attention.causal") is not False


def model_pooling(shape: ModelShape, kind: Kind | None = None) -> Pooling:
    """Return the pooling that llama-server runs a model with, empty for a model that generates text.

    It is the header's. Without one it is `mean` for an encoder and `last` for another embedding model.

    Args:
        shape: The model.
        kind: What the model is for; None for what its header says.

    Raises:
        ModelFileError: llama-server does not run the model, or not for that.
    """
    why = _unserved(shape)
    if why is not None:
        raise _refused(shape, f"its architecture, {shape.architecture}, is {why}")
    named = _NAMES.get(shape.number("pooling_type"), "")
    default: Pooling = "last" if is_causal(shape) else "mean"
    if kind is None:
        return named or ("" if is_causal(shape) else default)
    if kind == "embedding":
        return default if named in ("", "rank") else named
    if kind == "reranking":
        if named != "rank" and not any(tensor.name in _CLASSIFIER for tensor in shape.tensors):
            raise _refused(shape, "it has no classifier, which a reranking model needs")
        return "rank"
    if not is_causal(shape):
        raise _refused(shape, f"its architecture, {shape.architecture}, is an encoder, which generates no text")
    return ""


def _unserved(shape: ModelShape) -> str | None:
    if shape.architecture in _DIFFUSION:
        return "a diffusion model, which does not generate text token by token"
    return _OTHERS.get(shape.architecture)


def _refused(shape: ModelShape, why: str) -> ModelFileError:
    return ModelFileError(
        f"{shape.files[0]} cannot be measured: {why}",
        remedy="give a model that generates text, or an embedding or reranking model",
    )
