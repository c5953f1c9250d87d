"""Whether the machine was the same over a study."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finalists import outcome
from finished_study import result
from layertune.cli.progress import SearchProgress
from layertune.results.drift import CLEAR_DRIFT, Reference, drifts, worst_drift
from layertune.search.task import ReferenceMeasured
from small_study import task


def reference(n_trials: int, chat: float, code: float = 10.0, spread: float = 0.001) -> Reference:
    def samples(speed: float) -> list[float]:
        return [speed * (1 - spread), speed, speed * (1 + spread)]

    return Reference(n_trials, outcome({"chat": samples(chat), "code": samples(code)}))


@given(st.lists(st.floats(1, 100), min_size=1, max_size=5))
def test_drifts_are_relative_to_the_first_reference(speeds: list[float]) -> None:
    found = drifts([reference(8 * at, speed) for at, speed in enumerate(speeds)])
    assert found[0] == {"chat": 1.0, "code": 1.0}
    assert [each["chat"] for each in found] == pytest.approx([speed / speeds[0] for speed in speeds])


@pytest.mark.parametrize("references", [[], [reference(0, 20.0)]])
def test_a_single_reference_measurement_shows_no_drift(references: list[Reference]) -> None:
    assert worst_drift(references) is None
    assert len(drifts(references)) == len(references)


def test_the_worst_drift_is_the_one_farthest_from_the_start_of_any_model() -> None:
    references = [reference(0, 20.0), reference(8, 18.0), reference(16, 20.0, code=15.0), reference(24, 22.0)]
    assert worst_drift(references) == pytest.approx(1.5)
    assert worst_drift(references[:2]) == pytest.approx(0.9)


@given(st.floats(1 - CLEAR_DRIFT + 1e-6, 1 + CLEAR_DRIFT - 1e-6))
def test_a_small_drift_is_within_what_two_loads_differ_by(ratio: float) -> None:
    assert worst_drift([reference(0, 20.0), reference(8, 20.0 * ratio)]) is None


def test_a_drift_within_the_noise_of_the_measurements_is_none() -> None:
    assert worst_drift([reference(0, 20.0, spread=0.2), reference(8, 24.0, spread=0.2)]) is None


def test_references_of_a_single_repetition_show_no_drift() -> None:
    once = [Reference(n_trials, outcome({"chat": [speed]})) for n_trials, speed in ((0, 20.0), (8, 10.0))]
    assert worst_drift(once) is None


def test_only_a_drift_is_reported_while_the_search_runs(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SearchProgress(task(), [])
    progress.on_event(ReferenceMeasured(None))
    assert capsys.readouterr().err == ""
    progress.on_event(ReferenceMeasured(0.9))
    assert capsys.readouterr().err.startswith("the machine runs at 90% of its speed at the start")


def test_a_result_has_every_reference_with_its_relative_speeds() -> None:
    references = [reference(0, 20.0), reference(8, 18.0, code=11.0)]
    first, later = result(references=references).references
    assert (first.n_trials, first.relative) == (0, {"chat": 1.0, "code": 1.0})
    assert (later.n_trials, later.tokens_per_s) == (8, {"chat": 18.0, "code": 11.0})
    assert later.relative == {"chat": pytest.approx(0.9), "code": pytest.approx(1.1)}
