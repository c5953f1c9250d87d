"""Distributions in 16 bits, and their divergences against values computed in double precision."""

from io import BytesIO
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from layertune.quality.reference_rows import NotFinite, ReferenceRows, Scores

ROW = NDArray[np.float32]


def exact_divergence(reference: ROW, other: ROW) -> float:
    p, q = (np.exp(row - row.max(), dtype=np.float64) for row in (reference.astype(float), other.astype(float)))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def kept(row: ROW) -> ReferenceRows:
    rows = ReferenceRows(BytesIO(), len(row))
    scores = Scores.of(row)
    rows.add(scores, scores.nll(0))
    return rows


def test_two_tokens_give_the_divergence_worked_out_by_hand() -> None:
    half, quarter = np.log(np.array([[0.5, 0.5], [0.25, 0.75]], dtype=np.float32))
    (row,) = kept(half).compare()
    against = row.against(Scores.of(quarter))
    assert against.kl_divergence == pytest.approx(0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75), rel=1e-5)
    assert against.nll == pytest.approx(log(2))
    assert Scores.of(quarter).nll(1) == pytest.approx(-log(0.75))


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 12), change=st.floats(0, 1))
def test_sixteen_bits_are_enough_for_each_row(seed: int, scale: float, change: float) -> None:
    generator = np.random.default_rng(seed)
    row = generator.normal(0, scale, 5000).astype(np.float32)
    other = (row + generator.normal(0, change, 5000)).astype(np.float32)
    (reference,) = kept(row).compare()
    found = reference.against(Scores.of(other))
    assert found.kl_divergence == pytest.approx(exact_divergence(row, other), rel=0.01, abs=1e-5)
    assert found.n_same_top == int(row.argmax() == other.argmax())


def test_sixteen_bits_do_not_shift_a_mean() -> None:
    generator = np.random.default_rng(2)
    found, exact = [], []
    for _ in range(300):
        row = generator.normal(0, 6, 5000).astype(np.float32)
        other = (row + generator.normal(0, 0.1, 5000)).astype(np.float32)
        (reference,) = kept(row).compare()
        found.append(reference.against(Scores.of(other)).kl_divergence)
        exact.append(exact_divergence(row, other))
    assert np.mean(found) == pytest.approx(np.mean(exact), rel=1e-3)


@pytest.mark.parametrize("scale", [0, 1e-3, 30])
def test_a_file_does_not_diverge_from_itself(scale: float) -> None:
    row = np.random.default_rng(1).normal(0, scale, 5000).astype(np.float32)
    (reference,) = kept(row).compare()
    against = reference.against(Scores.of(row))
    assert against.kl_divergence == pytest.approx(0, abs=1e-6)
    assert against.n_same_top == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(NotFinite):
        Scores.of(np.array([0, bad, 1], dtype=np.float32))
