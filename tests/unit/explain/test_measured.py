from math import hypot

import pytest

from compared import engine
from explained import pair, study
from layertune.explain.measured import measured_change, measured_steps
from layertune.results.result import Result
from layertune.results.trial_info import TrialInfo


def nearest(result: Result) -> dict[tuple[str, int], int]:
    """Return by setting and value which trial measured it."""
    found = measured_steps(result, result.trial(0), "chat")
    return {(step.knob, step.to): trial.number for step, trial in found}


def test_the_nearest_trials_that_differ_in_one_setting_are_found() -> None:
    assert nearest(study()) == {("n_gpu_layers", 19): 1, ("n_gpu_layers", 37): 5}


def test_a_trial_that_changes_the_other_model_too_is_left_out() -> None:
    assert nearest(study([pair(engine(20)), pair(engine(19), engine(11))])) == {}


def test_a_batch_that_changes_the_other_one_counts_as_one_setting() -> None:
    larger, smaller = engine(20, n_batch=512, n_ubatch=512), engine(20, n_batch=128, n_ubatch=128)
    wide = engine(20, n_batch=512)
    found = nearest(study([pair(engine(20)), pair(larger), pair(smaller), pair(wide)]))
    assert found == {("n_ubatch", 512): 1, ("n_batch", 128): 2, ("n_batch", 512): 3}


def test_disturbed_and_failed_trials_are_left_out() -> None:
    whole = study()
    disturbed = whole.trials[1].model_copy(update={"warnings": ["disturbed: another program"]})
    failed = whole.trials[5].model_copy(update={"state": "failed"})
    trials = [disturbed if each.number == 1 else failed if each.number == 5 else each for each in whole.trials]
    assert nearest(whole.model_copy(update={"trials": trials})) == {("n_gpu_layers", 10): 2}


def test_a_finalist_is_preferred_among_trials_with_one_value() -> None:
    twice = study([pair(engine(20)), pair(engine(19)), pair(engine(19))], rounds={2: (1.0, 1.0, 1.0)})
    assert nearest(twice) == {("n_gpu_layers", 19): 2}


def test_the_change_between_two_trials_of_the_search_has_the_spread_of_loads() -> None:
    result = study(speeds={0: {"chat": 30.0}, 1: {"chat": 28.0}})
    change = measured_change(result.trial(0), result.trial(1), "chat")
    assert change is not None
    assert change.tokens_per_s == pytest.approx(-2)
    assert change.share == pytest.approx(-2 / 30)
    assert (change.source, change.trial, change.measured_in) == ("measured", 1, "search")
    half = 0.025 * hypot(30, 28)  # its repetitions agree, two loads do not
    assert (change.low, change.high) == (pytest.approx(-2 - half), pytest.approx(-2 + half))
    assert change.clear


def test_two_finalists_are_compared_by_the_finals_and_others_by_the_search() -> None:
    speeds = {0: {"chat": 30.0}, 1: {"chat": 28.0}, 2: {"chat": 20.0}}
    result = study(speeds=speeds, rounds={0: (0.8,) * 3, 1: (0.9,) * 3})
    finals = measured_change(result.trial(0), result.trial(1), "chat")
    search = measured_change(result.trial(0), result.trial(2), "chat")
    assert finals is not None
    assert search is not None
    assert (finals.tokens_per_s, finals.measured_in) == (pytest.approx(28 * 0.9 - 30 * 0.8), "finals")
    assert (search.tokens_per_s, search.measured_in) == (pytest.approx(20 - 30), "search")


def test_a_validated_trial_is_compared_by_the_last_stage_of_both() -> None:
    speeds = {0: {"chat": 30.0}, 1: {"chat": 28.0}, 2: {"chat": 20.0}}
    result = study(
        speeds=speeds, rounds=dict.fromkeys(speeds, (0.9,) * 3), confirming=dict.fromkeys((0, 1), (0.8,) * 3)
    )
    told = [measured_change(result.trial(0), result.trial(number), "chat") for number in (1, 2)]
    assert [each and (each.measured_in, each.before) for each in told] == [
        ("confirming", pytest.approx(30 * 0.8)),
        ("finals", pytest.approx(30 * 0.9)),
    ]


def test_a_change_measured_once_has_no_interval_and_is_not_clear() -> None:
    result = study()
    change = measured_change(once(result.trial(0)), result.trial(1), "chat")
    assert change is not None
    assert (change.low, change.high, change.clear) == (None, None, None)


def once(trial: TrialInfo) -> TrialInfo:
    metrics = {
        name: {key: metric.model_copy(update={"low": None, "high": None}) for key, metric in of_model.items()}
        for name, of_model in (trial.metrics or {}).items()
    }
    return trial.model_copy(update={"metrics": metrics})
