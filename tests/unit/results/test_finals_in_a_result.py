"""What result.json tells of the finals, and that one from before there were any is still read."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from finalists import finalist, in_rounds, outcome, outcomes, rounds, searched, trial
from finished_study import result, settings
from layertune.results.remarks import baseline_words
from layertune.results.result import Result, read_result
from layertune.results.summary import Baseline
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings
from layertune.vram.vram_report import VramReport

STEADY = (1.0, 1.01, 0.99, 1.0)


def measured_again(number: int, chat: float, peak_mib: float, factors: Sequence[float] = STEADY) -> FinishedTrial:
    speeds = [chat * factor for factor in factors]
    found = finalist(number, peak_mib, chat=rounds(*speeds), code=rounds(*(speed / 2 for speed in speeds)))
    return replace(found, settings=settings(number, number))


def once(number: int, chat: float, peak_mib: float) -> FinishedTrial:
    return replace(trial(number, {"chat": [chat], "code": [chat / 2]}, peak_mib), settings=settings(number, number))


BASELINE, PICK = measured_again(0, 20.0, 100), measured_again(1, 30.0, 200, (1.0, 0.99, 1.01, 1.02))
LUCKY = once(2, 99.0, 50)


def baseline(measured: SplitSettings) -> Baseline:
    return Baseline("theirs", measured, "a rule")


def test_load_times_of_every_measurement_are_kept_without_an_interval() -> None:
    found = result(trials=[BASELINE, LUCKY])
    loads = [trial.load_s["chat"] for trial in found.trials]
    assert [(load.median, load.n, load.low) for load in loads] == [(0.1, 1 + len(STEADY), None), (0.1, 1, None)]


def test_a_trial_that_was_measured_once_is_on_the_front_and_no_pick() -> None:
    found = result(trials=[BASELINE, PICK, LUCKY])
    assert found.pareto == [0, 1, 2]
    assert found.picks == {"balanced": 1, "even": 1, "chat": 1, "code": 1, "lean": 1}
    assert (found.trial(1).n_rounds, found.trial(2).n_rounds) == (4, 0)


def test_a_finalist_has_the_metrics_of_the_rounds_and_those_of_the_search_as_screening() -> None:
    found = result(trials=[BASELINE, PICK, LUCKY]).trial(1)
    assert found.metrics is not None
    assert found.screening is not None
    assert found.metrics["chat"]["tokens_per_s"].samples == [30.0, 29.7, 30.3, 30.6]
    assert found.screening["chat"]["tokens_per_s"].median == pytest.approx(3 * 30.15)
    assert result(trials=[LUCKY]).trial(2).screening is None


def confirmed(trial: FinishedTrial, chat: float) -> FinishedTrial:
    again = measured_again(trial.number, chat, trial.peak_bytes() / 2**20 + 10)
    return in_rounds(trial, "validation", outcomes(again))


def test_validation_runs_are_reported_and_choose_nothing() -> None:
    found = result(trials=[confirmed(BASELINE, 19.0), confirmed(PICK, 10.0), LUCKY])
    assert found.pareto == [0, 1, 2]
    assert found.picks["chat"] == 1
    told = found.trial(1)
    assert (told.n_rounds, told.n_confirming, told.last_measured_in()) == (4, 4, "confirming")
    of = [(told.metrics_of(each) or {})["chat"]["tokens_per_s"].median for each in ("search", "finals", "confirming")]
    assert of == [pytest.approx(3 * 30.15), pytest.approx(30.15), pytest.approx(10.0)]
    assert told.vram is not None
    assert told.vram.peak_bytes == 210 * 2**20
    assert told.load_s["chat"].n == 9


def test_a_finalist_without_validation_runs_reports_its_finals() -> None:
    told = result(trials=[BASELINE, PICK]).trial(1)
    assert (told.last_measured_in(), told.finals) == ("finals", None)
    assert told.metrics_of("finals") == told.metrics
    assert told.metrics_of("confirming") is None


def test_a_gain_over_a_baseline_is_that_of_the_validation_runs() -> None:
    trials = [confirmed(BASELINE, 20.0), confirmed(PICK, 40.0)]
    gain = result(trials=trials, baselines=[baseline(BASELINE.settings)]).baselines["theirs"].balanced["chat"]
    assert gain.ratio == pytest.approx(2.0, rel=0.001)


def test_no_gain_pairs_validation_runs_with_rounds_of_the_finals() -> None:
    """The pick is half as fast again in both; the machine is 10 % slower after the finals."""
    slowed = confirmed(PICK, 0.9 * 30.0)
    over = replace(BASELINE, violations={"vram": 5.0})
    assert (slowed.reported_by, over.reported_by) == ("validation", "finals")
    found = result(trials=[over, slowed], baselines=[baseline(over.settings)])
    assert found.picks["balanced"] == PICK.number
    assert found.baselines["theirs"].balanced == {}
    assert baseline_words(found, found.baselines["theirs"]) == "trial 0, over vram"


def test_metrics_of_a_stage_that_was_not_measured_are_none() -> None:
    told = result(trials=[confirmed(BASELINE, 19.0), confirmed(PICK, 10.0), LUCKY]).trial(1)
    assert told.model_copy(update={"finals": None}).metrics_of("finals") is None
    assert told.model_copy(update={"screening": None}).metrics_of("search") is None


def test_a_tied_trial_names_the_one_it_is_tied_with() -> None:
    equal = measured_again(2, 30.3, 300)
    found = result(trials=[BASELINE, PICK, equal])
    assert found.pareto == [0, 1]
    assert found.trial(2).tied_with == 1
    assert found.trial(1).tied_with is None


def test_the_balanced_pick_is_compared_with_each_baseline_in_the_same_rounds() -> None:
    found = result(trials=[BASELINE, PICK], baselines=[baseline(BASELINE.settings)]).baselines["theirs"]
    assert found.balanced.keys() == {"chat", "code"}
    gain = found.balanced["chat"]
    assert gain.clear
    assert gain.ratio == pytest.approx(1.5, rel=0.02)
    assert gain.low is not None
    assert 1 < gain.low < gain.ratio


def test_no_gain_over_a_baseline_is_clear_where_noise_explains_it() -> None:
    wild = measured_again(1, 21.0, 50, (1.2, 0.8, 1.0, 1.1))
    gain = result(trials=[BASELINE, wild], baselines=[baseline(BASELINE.settings)]).baselines["theirs"].balanced["chat"]
    assert gain.low is not None
    assert gain.low < 1
    assert not gain.clear


def test_a_baseline_that_is_the_pick_is_compared_with_nothing() -> None:
    assert result(trials=[BASELINE], baselines=[baseline(BASELINE.settings)]).baselines["theirs"].balanced == {}
    assert (
        result(trials=[once(0, 5.0, 1), LUCKY], baselines=[baseline(settings(0, 0))]).baselines["theirs"].balanced == {}
    )


def test_a_gain_measured_in_one_round_is_not_clear() -> None:
    single = [in_rounds(each, "finals", {0: outcomes(each)[0]}) for each in (BASELINE, PICK)]
    gain = result(trials=single, baselines=[baseline(BASELINE.settings)]).baselines["theirs"].balanced["chat"]
    assert (gain.low, gain.high) == (None, None)
    assert not gain.clear


def test_disturbances_of_a_round_are_among_the_warnings() -> None:
    disturbed = replace(
        outcome({"chat": [30.0], "code": [15.0]}, 200),
        warnings=("measured again, since the machine was busy",),
        disturbances=("another program took 1 GiB",),
    )
    in_finals = in_rounds(PICK, "finals", {**outcomes(PICK), 4: disturbed})
    found = result(trials=[BASELINE, in_rounds(in_finals, "validation", {0: disturbed})])
    told = ("measured again, since the machine was busy", "disturbed: another program took 1 GiB")
    assert found.trial(1).warnings == [
        f"{rounds}: {warning}" for rounds in ("finals, round 5", "confirming, round 1") for warning in told
    ]


def test_a_trial_that_ended_early_says_why() -> None:
    stopped = searched(LUCKY, replace(outcome({"chat": [1.0], "code": [1.0]}), stopped="clearly beaten by trial 1"))
    assert result(trials=[stopped]).trial(2).warnings == ["ended early: clearly beaten by trial 1"]


@pytest.mark.parametrize("phases", [{}, {"load": 5}, {"load": 5, "unload": 0}, {"prefill": 5}])
def test_phases_without_a_reading_are_missing(phases: dict[str, int]) -> None:
    vram = VramReport(100, 0, "process", "nvml", phases)
    found = result(trials=[searched(LUCKY, replace(outcome({"chat": [1.0], "code": [1.0]}), vram=vram))])
    told = found.trial(2).vram
    assert told is not None
    assert told.phases == phases


def test_memory_that_grew_after_the_load_or_was_not_freed_is_a_warning() -> None:
    vram = VramReport(100 * 2**20, 0, "process", "nvml", {"load": 2**20, "prefill": 9 * 2**20, "unload": 5 * 2**20})
    found = result(trials=[searched(LUCKY, replace(outcome({"chat": [1.0], "code": [1.0]}), vram=vram))])
    assert found.trial(2).warnings == [
        "memory grew by 8.0 MiB after the load",
        "4.0 MiB did not come back after the unload",
    ]


def test_a_result_of_before_the_finals_is_still_read(tmp_path: Path) -> None:
    data = json.loads(result(baselines=[baseline(settings(0, 0))]).model_dump_json())
    for key in ("references", "clock"):
        del data[key]
    del data["baselines"]["theirs"]["balanced"]
    for each in data["trials"]:
        for key in ("n_rounds", "n_confirming", "screening", "finals", "tied_with"):
            del each[key]
        for key in ("split", "foreign_bytes", "sampling") if each["vram"] else ():
            del each["vram"][key]
        for metrics in (each["metrics"] or {}).values():
            del metrics["tpot_s"]
            for metric in metrics.values():
                del metric["low"], metric["high"]
    (tmp_path / "result.json").write_text(json.dumps(data))
    found = read_result(tmp_path)
    assert isinstance(found, Result)
    assert found.picks == result().picks
    assert found.trial(1).n_rounds == 0


def test_what_was_validated_without_finals_keeps_what_the_search_measured() -> None:
    validated = in_rounds(LUCKY, "validation", outcomes(BASELINE))
    found = result(trials=[validated]).trial(2)
    assert (found.n_rounds, found.n_confirming) == (0, 4)
    assert found.screening is not None
    assert found.screening["chat"]["tokens_per_s"].median == 99.0
    assert found.finals is None
