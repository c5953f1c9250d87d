"""The sentences under a study's table."""

from dataclasses import replace

import pytest

from finalists import finalist, in_rounds, outcome, outcomes, rounds, searched
from finished_study import result
from layertune.results.drift import Reference
from layertune.results.remarks import clock_words, disturbance_words, drift_words, finals_words, study_remarks
from layertune.results.result import ClockInfo
from layertune.results.trials import FinishedTrial
from layertune.trial.outcome import Measured

PICK = finalist(0, 100, chat=rounds(20.0, 20.2, 19.9, 20.1), code=rounds(9.0, 9.1, 9.0, 8.9))
EQUAL = finalist(1, 200, chat=rounds(20.2, 20.1, 20.3, 20.0), code=rounds(9.1, 9.0, 8.9, 9.0))


def warned(trial: FinishedTrial, **changes: tuple[str, ...]) -> FinishedTrial:
    assert isinstance(trial.outcome, Measured)
    return searched(trial, replace(trial.outcome, **changes))


def test_the_finals_say_how_many_were_measured_again_and_which_showed_no_difference() -> None:
    words = finals_words(result(trials=[PICK, EQUAL]))
    assert "chosen among 2 settings that were measured again, in up to 4 rounds" in words
    assert "Left out, because they are not shown to be better than another: 1 (0 stands in for it)." in words


@pytest.mark.parametrize(("decided", "said"), [(True, False), (False, True), (None, False)])
def test_an_undecided_choice_has_a_remark(decided: bool | None, said: bool) -> None:
    held = result(trials=[PICK, EQUAL]).model_copy(update={"decided": decided})
    assert ("Noise could still change a pick." in finals_words(held)) == said


def test_the_remarks_name_the_validation_runs_as_the_source_of_the_speeds() -> None:
    reported = "Trial 0 had 3 validation runs, which chose nothing; gains are reported from these."
    more = dict(list(outcomes(PICK).items())[:3])
    assert reported in finals_words(result(trials=[in_rounds(PICK, "validation", more), EQUAL]))
    assert "so the speeds of the picks are a little too high by luck." in finals_words(result(trials=[PICK, EQUAL]))


def test_without_finals_a_remark_warns_of_luck() -> None:
    assert finals_words(result()).startswith("No finals were held")


def test_a_drift_is_reported_by_the_farthest_reference() -> None:
    at = [
        Reference(8 * n, outcome({"chat": [20.0 * speed] * 3, "code": [9.0] * 3})) for n, speed in enumerate((1, 0.8))
    ]
    assert drift_words(result(references=at)) == (
        "The machine ran at 80% of its first speed at times (2 reference runs)."
    )
    assert drift_words(result(references=at[:1])) == ""


def test_trials_that_stayed_disturbed_are_named() -> None:
    crowded = warned(PICK, disturbances=("other programs took 1.00 cores",))
    assert disturbance_words(result(trials=[crowded, EQUAL])) == (
        "Disturbed although measured again: trial 0; the reasons are in result.json."
    )
    assert disturbance_words(result(trials=[EQUAL])) == ""


def test_a_warning_that_all_trials_have_is_printed_once() -> None:
    shared = [warned(trial, warnings=("4 threads share 2 cores",)) for trial in (PICK, EQUAL)]
    assert study_remarks(result(trials=shared)).count("On every trial: 4 threads share 2 cores.") == 1


def test_the_time_spent_is_printed_as_shares_of_the_whole_run() -> None:
    clock = ClockInfo(wall_s=100, load_s=10, warm_up_s=15, measure_s=70, unload_s=1, overhead_s=4)
    assert clock_words(clock) == (
        "Of 1m 40s: 70.0% measuring, 15.0% warm-up, 10.0% loading, 1.0% unloading, 4.0% overhead."
    )


def test_an_older_study_says_that_its_speeds_include_no_sampling() -> None:
    study = result()
    older = study.model_copy(update={"study": study.study.model_copy(update={"generation": "decode"})})
    assert "tokens/s include no sampling" in " ".join(study_remarks(older))
    assert "sampling" not in " ".join(study_remarks(study))
