import signal
import sys
from collections.abc import Iterator

import pytest
from tests.hardening.kinds import KINDS
from tests.hardening.limits import CASE_BYTES, Meter, enforce
from tests.hardening.runner import run
from tests.hardening.worker import run_case

from layertune.errors import ConfigError

N_CASES = 300  # a few seconds; docs/robustness.md has the long run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through Linux's /proc")


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_input_is_read_or_refused_in_one_sentence_within_its_limits(kind: str) -> None:
    summary = run(kind, N_CASES, seed=0)
    assert summary.n_cases == N_CASES
    assert summary.faults == []


@pytest.fixture
def meter() -> Iterator[Meter]:
    before = signal.getsignal(signal.SIGPROF)
    enforce()
    yield Meter()
    signal.signal(signal.SIGPROF, before)


def forever() -> None:
    while True:
        pass


def refuse(words: str) -> None:
    raise ConfigError(words)


def test_what_ends_well_or_is_refused_is_no_fault(meter: Meter) -> None:
    assert run_case(lambda: 1, meter) == ("accepted", "")
    assert run_case(lambda: refuse("a.toml: no"), meter) == ("refused", "a.toml: no")


def test_what_takes_too_long_or_too_much_or_raises_anything_else_is_a_fault(meter: Meter) -> None:
    assert run_case(forever, meter)[1].startswith("took more than 2 s: ")
    assert run_case(lambda: bytearray(2 * CASE_BYTES), meter)[1].startswith("took more than 300 MB: ")
    assert run_case(lambda: {}["key"], meter)[1].startswith("KeyError: 'key' test_hardening.py")


def test_a_process_that_dies_is_a_fault_and_the_cases_after_it_are_run() -> None:
    summary = run("nothing of that name", 2, seed=0)
    assert [fault.words for fault in summary.faults] == ["the process died or hung"] * 2
