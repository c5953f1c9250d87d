"""Summary of synthetic blocks: weights, standard errors and paired differences."""

from math import inf, log, sqrt

import numpy as np
import pytest

from layertune.quality.blocks import Against, Block, TokenScore, blocks_of, mean_and_error
from layertune.quality.divergence import difference, summaries_by_kind, summary, weighted


def block(divergence: float, *, kind: str = "english", nll: float = 2.0, is_first: bool = True) -> Block:
    return Block(kind, is_first, 32, 100, 32 * nll, Against(32 * divergence, 24, 32 * 1.5))


def test_tokens_are_summed_in_blocks_of_32() -> None:
    scores = [TokenScore(4, 1.5, Against(0.1, 1, 1.25))] * 70
    sums = list(blocks_of("code", True, scores))
    assert [each.n_tokens for each in sums] == [32, 32, 6]
    assert sums[0] == Block("code", True, 32, 128, 48.0, Against(pytest.approx(3.2), 32, 40.0))
    assert [each.against for each in blocks_of("code", True, [TokenScore(4, 1.5, None)])] == [None]


def test_the_standard_error_is_that_of_block_means() -> None:
    mean, error = mean_and_error([32 * 0.1, 32 * 0.3], [32, 32])
    assert (mean, error) == (pytest.approx(0.2), pytest.approx(0.1))  # stdev of 0.1 and 0.3, over the root of two
    assert mean_and_error([1.0], [32]) == (1 / 32, inf)


def test_tokens_that_vary_together_do_not_make_a_mean_more_precise() -> None:
    generator = np.random.default_rng(3)
    levels = np.repeat(generator.exponential(1, 400), 32)  # each block has one level
    sums = [float(part.sum()) for part in levels.reshape(-1, 32)]
    _, error = mean_and_error(sums, [32] * 400)
    assert error == pytest.approx(1 / sqrt(400), rel=0.2)
    assert error > 4 * levels.std() / sqrt(len(levels))


def test_figures_of_one_kind() -> None:
    found = summary([block(0.1), block(0.3, is_first=False, nll=3.0)])
    assert found.n_tokens == 64
    assert found.ln_ppl == pytest.approx(2.5)
    assert found.bits_per_byte == pytest.approx(32 * 2.0 / log(2) / 100)  # of the first tokens only
    assert found.divergence is not None
    assert found.divergence.mean == pytest.approx(0.2)
    assert found.divergence.top1_agreement == 0.75
    assert found.divergence.ln_ppl_change == pytest.approx(1.0)


def test_kinds_are_weighted() -> None:
    blocks = [block(0.1), block(0.1), block(0.4, kind="code"), block(0.6, kind="code")]
    by_kind = summaries_by_kind(blocks)
    total = weighted(by_kind, {"english": 1, "code": 3}).divergence
    assert total is not None
    assert total.mean == pytest.approx(0.25 * 0.1 + 0.75 * 0.5)
    assert total.standard_error == pytest.approx(0.75 * 0.1)


def test_candidates_are_compared_on_the_same_tokens() -> None:
    hard = [0.1, 0.5, 0.2, 0.9]  # the error of each mean is 0.18, that of the difference is 0
    worse, better = ([block(each + more) for each in hard] for more in (0.01, 0.0))
    found = difference([*worse, block(5, is_first=False)], better, {"english": 1})
    assert found is not None
    assert (found.mean, found.standard_error) == (pytest.approx(0.01), pytest.approx(0, abs=1e-9))


def test_another_model_has_bits_per_byte_only() -> None:
    other = Block("english", True, 32, 100, 64.0, None)
    assert summary([other]).divergence is None
    assert weighted(summaries_by_kind([other]), {"english": 1}).bits_per_byte == pytest.approx(64 / log(2) / 100)
    assert difference([other], [block(0.1)], {"english": 1}) is None
