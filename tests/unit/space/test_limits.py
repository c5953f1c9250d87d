from dataclasses import replace

from layertune.settings import SplitSettings
from layertune.space.limits import Limits, process_overheads
from layertune.testing import measured
from layertune.trial.outcome import Failed, Infeasible
from layertune.units import MIB
from small_study import on_a_gpu, space

SETTINGS: SplitSettings = space().settings({"chat.n_gpu_layers": 5, "code.n_gpu_layers": 5})
LIMITS = Limits((200 * MIB,), 10 * MIB, None, n_processes=3, file_bytes={"chat": MIB, "code": MIB})


def test_the_margin_counts_against_the_budget() -> None:
    outcome = measured(SETTINGS)
    assert outcome.vram is not None
    assert LIMITS.violations(SETTINGS, outcome) == {"vram": outcome.vram.peak_bytes - 190 * MIB}


def test_each_further_process_takes_the_overhead_that_one_worker_shows() -> None:
    one, three = measured(SETTINGS), on_a_gpu(SETTINGS, overhead_bytes=30 * MIB)
    assert process_overheads(one) == [0]
    assert process_overheads(three) == [30 * MIB]
    assert LIMITS.violations(SETTINGS, three)["vram"] == LIMITS.violations(SETTINGS, one)["vram"] + 3 * 30 * MIB


def test_a_refused_trial_exceeds_the_budget_by_at_least_a_byte() -> None:
    known = Infeasible("load", "chat", "no room", excess_bytes=77, duration_s=1.0)
    assert LIMITS.violations(SETTINGS, known) == {"vram": 77.0}
    assert LIMITS.violations(SETTINGS, replace(known, excess_bytes=None)) == {"vram": 1.0}


def test_a_failed_trial_has_no_violations() -> None:
    assert LIMITS.violations(SETTINGS, Failed("crashed", "SIGSEGV", (), 1.0)) == {}
