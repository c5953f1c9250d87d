"""The summary of a file's quality: by kind of text, and weighted over the kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from layertune.quality.blocks import Against, Block, mean_and_error

_RELATIVE_ERROR = 0.05


@dataclass(frozen=True, slots=True)
class Divergence:
    """How a file's predictions differ from the reference's.

    Attributes:
        mean: The mean KL divergence of the next token's distribution, in nats.
        standard_error: The standard error of the mean.
        top1_agreement: The share of tokens for which both have the same most likely token.
        ln_ppl_change: The change of the logarithm of the perplexity.
        ln_ppl_error: The standard error of this change.
    """

    mean: float
    standard_error: float
    top1_agreement: float
    ln_ppl_change: float
    ln_ppl_error: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A file's quality on one kind of text, or weighted over several kinds.

    Attributes:
        n_tokens: The number of scored tokens.
        ln_ppl: The logarithm of the perplexity. Models with other tokens have other units.
        bits_per_byte: Bits needed per byte of text, over the bytes that every file is scored on.
        divergence: The comparison with the reference; None for another model than the reference.
    """

    n_tokens: int
    ln_ppl: float
    bits_per_byte: float
    divergence: Divergence | None

    @property
    def perplexity(self) -> float:
        return exp(self.ln_ppl)


@dataclass(frozen=True, slots=True)
class Difference:
    """The KL divergence of one candidate minus another's, over the same tokens, with its standard error."""

    mean: float
    standard_error: float


def summary(blocks: Sequence[Block]) -> Summary:
    """Return the summary of one kind of text."""
    counts = [block.n_tokens for block in blocks]
    first = [block for block in blocks if block.is_first]
    against = [block.against for block in blocks if block.against is not None]
    return Summary(
        n_tokens=sum(counts),
        ln_ppl=sum(block.nll for block in blocks) / sum(counts),
        bits_per_byte=sum(block.nll for block in first) / log(2) / sum(block.n_bytes for block in first),
        divergence=_divergence(blocks, against) if len(against) == len(blocks) else None,
    )


def _divergence(blocks: Sequence[Block], against: Sequence[Against]) -> Divergence:
    counts = [block.n_tokens for block in blocks]
    mean, error = mean_and_error([each.kl_divergence for each in against], counts)
    changes = [block.nll - each.nll for block, each in zip(blocks, against, strict=True)]
    change, change_error = mean_and_error(changes, counts)
    return Divergence(mean, error, sum(each.n_same_top for each in against) / sum(counts), change, change_error)


def summaries_by_kind(blocks: Sequence[Block]) -> dict[str, Summary]:
    """Return the summary of each kind of text, in order of appearance."""
    kinds = dict.fromkeys(block.kind for block in blocks)
    return {kind: summary([block for block in blocks if block.kind == kind]) for kind in kinds}


def weighted(by_kind: Mapping[str, Summary], weights: Mapping[str, float]) -> Summary:
    """Return the averages of all kinds with these weights."""
    total = sum(weights[kind] for kind in by_kind)
    shares = [weights[kind] / total for kind in by_kind]

    def average(values: Sequence[float]) -> float:
        return sum(share * value for share, value in zip(shares, values, strict=True))

    def error(values: Sequence[float]) -> float:
        return sqrt(sum((share * value) ** 2 for share, value in zip(shares, values, strict=True)))

    found = list(by_kind.values())
    compared = [each.divergence for each in found if each.divergence is not None]
    divergence = (
        Divergence(
            average([each.mean for each in compared]),
            error([each.standard_error for each in compared]),
            average([each.top1_agreement for each in compared]),
            average([each.ln_ppl_change for each in compared]),
            error([each.ln_ppl_error for each in compared]),
        )
        if len(compared) == len(found)
        else None
    )
    return Summary(
        n_tokens=sum(each.n_tokens for each in found),
        ln_ppl=average([each.ln_ppl for each in found]),
        bits_per_byte=average([each.bits_per_byte for each in found]),
        divergence=divergence,
    )


def difference(one: Sequence[Block], other: Sequence[Block], weights: Mapping[str, float]) -> Difference | None:
    """Return how much larger the first candidate's KL divergence is, by the blocks that both have.

    The same tokens are hard for both, so this is more precise than the two means with their errors.

    Returns:
        None if one of them is not compared with the reference.
    """
    pairs: dict[str, list[tuple[float, int]]] = {}
    for left, right in zip(_in_order(one), _in_order(other), strict=False):
        if left.against is None or right.against is None or left.n_tokens != right.n_tokens:
            return None
        value = left.against.kl_divergence - right.against.kl_divergence
        pairs.setdefault(left.kind, []).append((value, left.n_tokens))
    total = sum(weights[kind] for kind in pairs)
    mean, variance = 0.0, 0.0
    for kind, values in pairs.items():
        kind_mean, kind_error = mean_and_error(*zip(*values, strict=True))
        share = weights[kind] / total
        mean, variance = mean + share * kind_mean, variance + (share * kind_error) ** 2
    return Difference(mean, sqrt(variance))


def _in_order(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks that every file is scored on before the others."""
    return [block for block in blocks if block.is_first] + [block for block in blocks if not block.is_first]


def is_precise(found: Divergence) -> bool:
    """Return whether a mean's standard error is small enough to stop."""
    return found.standard_error <= _RELATIVE_ERROR * found.mean
