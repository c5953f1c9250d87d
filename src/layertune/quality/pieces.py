"""The pieces of the texts that are scored: whole contexts, the same tokens for every file of one model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from layertune.engine.context import Tokens
from layertune.quality.scoring import Scoring


@dataclass(frozen=True, slots=True)
class Piece:
    """One context of one text.

    Attributes:
        kind: The kind of text.
        number: Its place in the text, from 0.
        tokens: Its tokens; the first is the model's BOS if it has one.
        n_bytes: The bytes of text of each token.
        end_byte: Where it ends in the text.
    """

    kind: str
    number: int
    tokens: Tokens
    n_bytes: NDArray[np.int64]
    end_byte: int


def pieces_of(kind: str, tokens: Tokens, n_bytes: NDArray[np.int64], bos: int | None, n_ctx: int) -> Iterator[Piece]:
    """Cut a text into contexts, as llama-perplexity does: BOS precedes the text and replaces each further context's
    first token.

    The last one may be shorter.
    """
    if bos is not None:
        tokens, n_bytes = np.insert(tokens, 0, bos), np.insert(n_bytes, 0, 0)
    ends = np.cumsum(n_bytes)
    for number, start in enumerate(range(0, len(tokens), n_ctx)):
        part = slice(start, start + n_ctx)
        piece = tokens[part].copy()
        if bos is not None:
            piece[0] = bos
        yield Piece(kind, number, piece, n_bytes[part], int(ends[part][-1]))


def stages(pieces: Sequence[Piece], scoring: Scoring) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces that are scored at first, and those that are added while the error is too large.

    Only whole contexts are. Every kind of text gives equally many, as far as it has them.
    """
    pieces = [piece for piece in pieces if len(piece.tokens) == scoring.n_ctx]
    rounds = sorted(pieces, key=lambda piece: piece.number)
    n_first, n_all = n_each_kind(scoring, max(len({piece.kind for piece in pieces}), 1))
    return (
        [piece for piece in rounds if piece.number < n_first],
        [piece for piece in rounds if n_first <= piece.number < n_all],
    )


def n_each_kind(scoring: Scoring, n_kinds: int) -> tuple[int, int]:
    """Return how many pieces each kind of text gives at first, and with those that may be added."""
    n_scored = scoring.n_scored * n_kinds
    n_first = ceil(scoring.least_tokens / n_scored)
    return n_first, max(n_first, int(scoring.most_tokens / n_scored))


def same_bytes(pieces: Sequence[Piece], reference: Sequence[Piece], scoring: Scoring) -> list[Piece]:
    """Return the pieces of a model with other tokens, up to where the reference's end in each text."""
    ends = {piece.kind: piece.end_byte for piece in sorted(reference, key=lambda piece: piece.number)}
    found = []
    for piece in sorted(pieces, key=lambda piece: piece.number):
        end_bytes = piece.end_byte - piece.n_bytes.sum() + np.cumsum(piece.n_bytes)
        n_tokens = int((end_bytes <= ends[piece.kind]).sum())
        if n_tokens > scoring.n_first + 1:
            found.append(replace(piece, tokens=piece.tokens[:n_tokens], n_bytes=piece.n_bytes[:n_tokens]))
    return found
