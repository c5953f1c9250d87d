import pytest

from layertune.prediction.session import LEAST, session_spread


def test_a_study_without_reference_runs_has_what_was_measured_elsewhere() -> None:
    assert session_spread([]) == LEAST


def test_a_machine_that_varies_more_is_believed_and_one_that_varies_less_is_not() -> None:
    assert session_spread([1.001, 0.999]) == LEAST
    assert session_spread([1.2, 1 / 1.2]) == pytest.approx(0.182, abs=0.001)


def test_a_speed_of_nothing_says_nothing() -> None:
    assert session_spread([0.0]) == LEAST
