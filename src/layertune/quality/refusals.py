"""When two files cannot be compared, or a quality is unknown; each reason is a sentence's end for people."""

from collections.abc import Mapping
from math import log

from layertune.engine.tokenizer import TokenizerFacts
from layertune.models import ModelShape
from layertune.models.standin import is_standin
from layertune.quality.divergence import Summary

RANDOM_WEIGHTS = "its weights are random, so its quality means nothing"
NOT_FINITE = "it computes logits that are not finite"

# A model that guesses every token has ln PPL = ln(n_vocab), and the smallest real models here stay under half of that.
# Random weights are not uniform, hence the 0.7 (docs/quality.md).
_RANDOM_SHARE = 0.7


def unknown_by_header(shape: ModelShape) -> str | None:
    """Return why a file's quality cannot be known, from its header alone."""
    return RANDOM_WEIGHTS if is_standin(shape) else None


def other_model(shape: ModelShape, reference: ModelShape) -> str | None:
    """Return why a file's distributions cannot be compared with the reference's: its shape is another model's."""
    for name in ("architecture", "n_layer", "n_embd"):
        own, other = getattr(shape, name), getattr(reference, name)
        if own != other:
            return f"it is another model than the reference: {name} is {own}, not {other}"
    return None


def other_tokens(own: TokenizerFacts, reference: TokenizerFacts, *, same_ids: bool) -> str | None:
    """Return why the tokens of two models cannot be compared, None if they can.

    Args:
        own: The candidate's tokenizer.
        reference: The reference's.
        same_ids: Whether all texts have the same tokens.
    """
    if (own.n_vocab, own.words_sha256) != (reference.n_vocab, reference.words_sha256):
        return "its vocabulary differs from the reference's"
    if own.bos != reference.bos:
        return "it begins a text with another token (BOS) than the reference"
    if own.pre != reference.pre:
        return f"its pre-tokenizer is {own.pre!r}, the reference's is {reference.pre!r}"
    return None if same_ids else "it reads other tokens from the same text than the reference"


def looks_random(by_kind: Mapping[str, Summary], n_vocab: int) -> bool:
    """Return whether a model predicts no kind of text better than random weights do."""
    return min(found.ln_ppl for found in by_kind.values()) > _RANDOM_SHARE * log(n_vocab)
