"""Sums over blocks of 32 tokens: everything that is kept of a pass, and enough for every result and its error.

Neighbouring tokens have correlated divergences: the variance of the mean is up to four times what independent tokens
would give. So errors are computed from blocks (docs/quality.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, sqrt

BLOCK_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Against:
    """Sums of the comparison with the reference over the tokens of a block.

    Attributes:
        kl_divergence: KL divergences of the file's distributions from the reference's.
        n_same_top: How often both have the same most likely token.
        nll: Negative log-likelihoods by the reference, in nats.
    """

    kl_divergence: float
    n_same_top: int
    nll: float


@dataclass(frozen=True, slots=True)
class Block:
    """Sums over up to 32 consecutive scored tokens.

    Attributes:
        kind: The kind of text.
        is_first: Whether it belongs to the tokens that every file is scored on.
        n_tokens: The number of tokens.
        n_bytes: Their bytes of text.
        nll: Their negative log-likelihoods, in nats.
        against: The comparison with the reference, None between models with different tokens.
    """

    kind: str
    is_first: bool
    n_tokens: int
    n_bytes: int
    nll: float
    against: Against | None


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One scored token, in the terms of `Block`."""

    n_bytes: int
    nll: float
    against: Against | None


def blocks_of(kind: str, is_first: bool, scores: Sequence[TokenScore]) -> Iterator[Block]:
    """Yield the blocks of one piece of text."""
    for start in range(0, len(scores), BLOCK_TOKENS):
        part = scores[start : start + BLOCK_TOKENS]
        compared = [score.against for score in part if score.against is not None]
        against = Against(
            sum(each.kl_divergence for each in compared),
            sum(each.n_same_top for each in compared),
            sum(each.nll for each in compared),
        )
        yield Block(
            kind,
            is_first,
            len(part),
            sum(score.n_bytes for score in part),
            sum(score.nll for score in part),
            against if compared else None,
        )


def mean_and_error(sums: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """Return the mean per token and its standard error, from the sums and token counts of independent blocks.

    It is the error of a ratio of two sums (Cochran, Sampling Techniques, 6.5). It is infinite for a single block.
    """
    n_tokens, n_blocks = sum(counts), len(counts)
    mean = sum(sums) / n_tokens
    if n_blocks < 2:
        return mean, inf
    squares = sum((each - mean * count) ** 2 for each, count in zip(sums, counts, strict=True))
    return mean, sqrt(squares * n_blocks / (n_blocks - 1)) / n_tokens
