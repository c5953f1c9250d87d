"""What a model is for, and how llama.cpp makes one result of a whole prompt."""

from collections.abc import Mapping
from typing import Literal

Kind = Literal["generation", "embedding", "reranking"]

# As llama-server's --pooling; empty for a model that generates text. Only reranking models have `rank`.
Pooling = Literal["", "mean", "cls", "last", "rank"]

POOLING_NUMBERS: Mapping[Pooling, int] = {"mean": 1, "cls": 2, "last": 3, "rank": 4}  # llama.h, llama_pooling_type


def kind_of(pooling: Pooling) -> Kind:
    """Return what a model with this pooling is for."""
    return "reranking" if pooling == "rank" else "embedding" if pooling else "generation"
