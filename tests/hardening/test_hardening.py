import sys

import pytest
from tests.hardening.kinds import KINDS
from tests.hardening.runner import run

N_CASES = 300  # a few seconds; docs/robustness.md has the long run


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through Linux's /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_input_is_read_or_refused_in_one_sentence_within_its_limits(kind: str) -> None:
    summary = run(kind, N_CASES, seed=0)
    assert summary.n_cases == N_CASES
    assert summary.faults == []
