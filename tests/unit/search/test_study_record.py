"""What a study keeps beside its trials comes back as it was written."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finalists import outcome
from layertune.results.trials import Measurement
from layertune.search.study_record import StudyRecord
from layertune.trial.outcome import Failed, Infeasible, Measured, TrialOutcome

MEASURED = outcome({"chat": [20.0, 21.0], "code": [9.0, 9.5]}, 100)
REFUSED = Infeasible("load", "chat", "no room", 5, 0.1)
OUTCOMES: list[TrialOutcome] = [
    MEASURED,
    REFUSED,
    Failed("crashed", "SIGSEGV", ("a line",), 0.1),
]


@pytest.fixture(autouse=True)
def silent() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


numbers = st.integers(0, 120)
keys = st.tuples(numbers, st.integers(0, 12), numbers)


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(keys, st.sampled_from(OUTCOMES), max_size=8))
def test_rounds_come_back_by_finals_finalist_and_round(written: dict[tuple[int, int, int], TrialOutcome]) -> None:
    record = StudyRecord(optuna.create_study())
    for (n_trials, n_round, number), each in written.items():
        record.add_round("finals", str(n_trials), n_round, number, each)
    for n_trials in {key[0] for key in written} | {121}:
        found = record.rounds("finals", str(n_trials))
        there = {
            (n_trials, n_round, number): each for number, rounds in found.items() for n_round, each in rounds.items()
        }
        assert there == {key: each for key, each in written.items() if key[0] == n_trials}
        assert all(list(rounds) == sorted(rounds) for rounds in found.values())


@settings(deadline=None, max_examples=30)
@given(st.sets(numbers, max_size=6))
def test_references_come_back_in_the_order_of_their_trials(written: set[int]) -> None:
    record = StudyRecord(optuna.create_study())
    for n_trials in written:
        record.add_reference(n_trials, MEASURED)
    assert [each.n_trials for each in record.references()] == sorted(written)
    assert all(each.outcome == MEASURED for each in record.references())


def test_rounds_of_the_finals_and_of_each_choice_are_kept_apart() -> None:
    record = StudyRecord(optuna.create_study())
    record.add_round("finals", "9", 0, 4, MEASURED)
    record.add_round("validation", "9:5", 1, 5, MEASURED)
    record.add_round("validation", "9:5,6", 0, 5, REFUSED)
    record.add_round("validation", "91:5", 0, 5, MEASURED)
    assert record.rounds("finals", "9") == {4: {0: MEASURED}}
    assert record.rounds("validation", "9:5") == {5: {1: MEASURED}}
    assert record.validations(9) == {5: [Measurement("validation", 1, MEASURED), Measurement("validation", 0, REFUSED)]}


def test_every_disturbed_measurement_is_kept_and_is_no_round_and_no_reference() -> None:
    study = optuna.create_study()
    record = StudyRecord(study)
    for of in ("3", "final 3", "3", "33", "final 3"):
        record.add_disturbed(of, MEASURED)
    assert study.user_attrs.keys() == {
        "disturbed 3 0",
        "disturbed 3 1",
        "disturbed 33 0",
        "disturbed final 3 0",
        "disturbed final 3 1",
    }
    assert record.rounds("finals", "3") == {}
    assert record.references() == []


def test_attributes_of_others_are_no_rounds() -> None:
    study = optuna.create_study()
    study.set_user_attr("identity", {"cpu": "one"})
    study.set_user_attr("final words", "none")
    study.set_user_attr("reference", "none")
    assert StudyRecord(study).rounds("finals", "0") == {}
    assert StudyRecord(study).references() == []


def test_a_measurement_keeps_everything_it_had() -> None:
    record = StudyRecord(optuna.create_study())
    record.add_round("finals", "9", 0, 4, MEASURED)
    (kept,) = record.rounds("finals", "9")[4].values()
    assert kept == MEASURED
    assert isinstance(kept, Measured)
    assert kept.models["chat"].samples.tokens_per_s == (20.0, 21.0)


def test_in_a_shared_storage_each_machine_s_measurements_are_its_own() -> None:
    study = optuna.create_study()
    one, other = StudyRecord(study, "one "), StudyRecord(study, "other ")
    assert isinstance(MEASURED, Measured)
    for record, n_rounds in ((one, 2), (other, 1)):
        for n_round in range(n_rounds):
            record.add_round("finals", "5", n_round, 3, MEASURED)
        record.add_reference(n_rounds, MEASURED)
    assert [list(record.rounds("finals", "5")[3]) for record in (one, other)] == [[0, 1], [0]]
    assert [[each.n_trials for each in record.references()] for record in (one, other)] == [[2], [1]]
    assert StudyRecord(study).rounds("finals", "5") == {}
