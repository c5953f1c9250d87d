import pytest

from compared import Row, study
from layertune.compare.flips import Flip, Flips, flips

BIG = Row((37, 29), (10, 5), 900)
SMALL = Row((37, 20), (10, 4), 600)


def why(first: list[Row], other: list[Row], pick: int, *, budget_mib: float = 1000, n_cores: int = 4) -> Flips:
    """Hold the first row of `first` against trial `pick` of `other`."""
    return flips(study(first), study(other, pick, budget_mib=budget_mib, n_cores=n_cores))


def test_equal_picks_have_no_changed_settings() -> None:
    assert why([BIG], [SMALL, BIG], 1) == Flips((), "same", "both studies pick the same settings")


def test_every_changed_knob_is_named_with_its_model() -> None:
    found = why([BIG], [Row((30, 29), (9, 5), 600, changes={"n_batch": 128})], 0)
    assert found.knobs == (
        Flip("chat", "n_gpu_layers", 37, 30),
        Flip("chat", "n_batch", 256, 128),
        Flip("code", "n_batch", 256, 128),
    )


def test_a_pick_over_the_other_budget_is_memory_bound() -> None:
    found = why([BIG], [SMALL], 0, budget_mib=700)
    assert found.why == "memory"
    assert found.reason == (
        "the first's settings take 900.0 MiB at their measured peak, the other budget is 700.0 MiB: 200.0 MiB too much"
    )


def test_a_pick_that_just_fits_is_not_memory_bound() -> None:
    assert why([BIG], [SMALL], 0, budget_mib=900).why == "unknown"


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (Row((37, 29), (10, 5), 900, state="infeasible"), "trial 1: infeasible, load code: no room"),
        (Row((37, 29), (10, 5), 900, over_mib=50), "trial 1: vram exceeded by 50.0 MiB"),
    ],
    ids=["refused", "over a limit"],
)
def test_a_pick_that_failed_in_the_other_study_is_memory_bound(there: Row, words: str) -> None:
    found = why([BIG], [SMALL, there], 0)
    assert (found.why, words in found.reason) == ("memory", True)


def test_a_validated_pick_is_compared_by_the_finals_that_measured_both() -> None:
    other = study([SMALL, Row((37, 29), (10, 3), 900)])
    pick, confirming = other.trial(0), study([Row((37, 20), (5, 2), 600)]).trial(0).metrics
    told = pick.model_copy(update={"n_confirming": 3, "finals": pick.metrics, "metrics": confirming})
    found = flips(study([BIG]), other.model_copy(update={"trials": [told, other.trial(1)]}))
    assert (found.why, "code 3.0 instead of 4.0 tokens/s" in found.reason) == ("bandwidth", True)


def test_a_pick_that_fits_and_is_slower_is_bandwidth_bound() -> None:
    found = why([BIG], [SMALL, Row((37, 29), (10, 3), 900)], 0)
    assert found.why == "bandwidth"
    assert found.reason.endswith(
        "as trial 1: clearly slower for code (chat 10.0 instead of 10.0 tokens/s, code 3.0 instead of 4.0 tokens/s)"
    )


def test_intervals_that_overlap_are_a_tie() -> None:
    assert why([BIG], [SMALL, Row((37, 29), (10, 3.9), 900, spread=0.05)], 0).why == "tie"


def test_a_pick_that_is_faster_for_one_model_is_a_preference() -> None:
    found = why([BIG], [SMALL, Row((37, 29), (12, 3), 900)], 0)
    assert found.why == "preference"
    assert "clearly faster for chat and slower for code" in found.reason


def test_without_an_interval_nothing_is_claimed() -> None:
    found = why([BIG], [SMALL, Row((37, 29), (10, 1), 900, spread=None)], 0)
    assert (found.why, "without an interval" in found.reason) == ("unknown", True)


def test_a_pick_that_was_not_measured_is_unknown() -> None:
    assert why([BIG], [SMALL], 0).why == "unknown"


def test_a_trial_with_the_same_layers_is_used_and_named() -> None:
    there = Row((37, 29), (10, 3), 900, changes={"n_batch": 128})
    over = Row((37, 29), (10, 9), 1100, over_mib=100, changes={"n_batch": 512})
    found = why([BIG], [SMALL, over, there], 0)
    assert found.why == "bandwidth"
    assert found.reason.startswith("the first's layers, not its other settings, were measured there as trial 2: ")


def test_a_trial_with_other_threads_is_used_on_a_machine_with_other_cores() -> None:
    there = Row((37, 29), (10, 3), 900, changes={"n_threads": 16})
    assert why([BIG], [SMALL, there], 0, n_cores=16).why == "bandwidth"


def test_without_a_pick_the_reason_is_unknown() -> None:
    assert flips(study([BIG]), study([SMALL], None)).why == "unknown"
