from typing import Any

import pytest

from compared import engine
from explained import pair, study
from layertune.explain import Swap, coexist_or_swap
from layertune.explain.words import case_words, in_a_row_words, missing_words
from layertune.results.result import Result
from layertune.results.summary import Baseline

# The pick, and each model with all its layers: 16 generated tokens a request.
WHOLE = [pair(engine(20)), pair(engine(37), engine(0)), pair(engine(0), engine(37))]
SPEEDS = {
    0: {"chat": 16.0, "code": 4.0},  # a request takes 1 s and 4 s
    1: {"chat": 32.0, "code": 2.0},  # 0.5 s of chat
    2: {"chat": 8.0, "code": 8.0},  # 2 s of code
}


def verdict(result: Result) -> Swap:
    return coexist_or_swap(result, result.trial(0))


def test_the_break_even_is_the_load_time_over_the_cost_of_sharing_per_round() -> None:
    swap = verdict(study(WHOLE, speeds=SPEEDS))
    assert swap.missing == ()
    assert [(each.trial, each.n_gpu_layers, each.load_s) for each in swap.models] == [(1, 37, 0.1), (2, 37, 0.1)]
    in_turns, at_once = swap.cases
    assert in_turns.shared.time_s == pytest.approx(5)
    assert in_turns.alone.time_s == pytest.approx(2.5)
    assert in_turns.per_minute == pytest.approx(0.2 / 2.5)
    assert in_turns.most_per_minute == pytest.approx(59.8 / 2.5)
    assert at_once.shared.time_s == pytest.approx(8)  # together the fake card halves every speed: 2 s and 8 s
    assert at_once.per_minute == pytest.approx(0.2 / 5.5)
    assert {case.verdict for case in swap.cases} == {"swap above break-even"}
    assert [each.n_in_a_row for each in swap.models] == [pytest.approx(0.2), pytest.approx(0.05)]


def test_a_stage_that_did_not_run_all_models_at_once_gets_the_slow_down_of_the_last_stage() -> None:
    whole = study(WHOLE, speeds=SPEEDS, rounds={0: [2.0, 2.0, 2.0]})  # the machine was faster in the finals

    def without_together(metrics: Any) -> Any:
        return {
            name: {key: metric for key, metric in each.items() if key != "tokens_per_s_together"}
            for name, each in metrics.items()
        }

    pick, *others = whole.trials
    trials = [
        pick.model_copy(update={"screening": without_together(pick.screening)}),
        *(each.model_copy(update={"metrics": without_together(each.metrics)}) for each in others),
    ]
    at_once = verdict(whole.model_copy(update={"trials": trials})).cases[1]
    assert at_once.shared.time_s == pytest.approx(8)  # as above
    assert at_once.shared.low_s is not None
    assert at_once.shared.low_s <= 8


def test_at_the_break_even_a_minute_takes_the_same_either_way() -> None:
    case = verdict(study(WHOLE, speeds=SPEEDS)).cases[0]
    assert case.per_minute is not None
    shared_s = case.per_minute * case.shared.time_s
    assert shared_s == pytest.approx(case.per_minute * case.alone.time_s + 0.2)


def test_if_sharing_is_not_clearly_slower_a_swap_never_pays() -> None:
    same = {0: {"chat": 31.9, "code": 7.99}, 1: {"chat": 32.0}, 2: {"code": 8.0}}
    in_turns, _ = verdict(study(WHOLE, speeds=same)).cases
    assert in_turns.slower.time_s > 0
    assert (in_turns.per_minute, in_turns.verdict) == (None, "coexist")
    assert "costs no clear time" in case_words(in_turns)


def test_a_cost_that_may_be_noise_gives_no_verdict() -> None:
    whole = study(WHOLE, speeds=SPEEDS)
    bare = {"low": None, "high": None}
    once = [
        trial.model_copy(
            update={
                "metrics": {
                    name: {key: metric.model_copy(update=bare) for key, metric in metrics.items()}
                    for name, metrics in (trial.metrics or {}).items()
                }
            }
        )
        for trial in whole.trials
    ]
    swap = verdict(whole.model_copy(update={"trials": once}))
    assert {case.verdict for case in swap.cases} == {"unknown"}
    assert all("no verdict" in case_words(case) for case in swap.cases)
    assert all("unknown" in in_a_row_words(each) for each in swap.models)


def test_a_model_with_all_layers_in_the_pick_loses_nothing_by_sharing() -> None:
    trials = [pair(engine(37)), pair(engine(0), engine(37))]
    chat, code = verdict(study(trials, speeds={0: {"chat": 32.0, "code": 4.0}, 1: {"code": 8.0}})).models
    assert (chat.trial, chat.slower.time_s, chat.slower.high_s, chat.n_in_a_row) == (0, 0, 0, None)
    assert "never pays" in in_a_row_words(chat)
    assert "pays after 0.1 requests" in in_a_row_words(code)  # 0.1 s of load, 2 s a request


def test_a_swap_that_cannot_serve_the_break_even_never_pays() -> None:
    whole = study(WHOLE, speeds=SPEEDS)
    slow = [
        trial.model_copy(
            update={
                "load_s": {name: metric.model_copy(update={"median": 29.0}) for name, metric in trial.load_s.items()}
            }
        )
        for trial in whole.trials
    ]
    case = verdict(whole.model_copy(update={"trials": slow})).cases[0]
    assert (case.per_minute, case.most_per_minute) == (pytest.approx(58 / 2.5), pytest.approx(2 / 2.5))
    assert case.verdict == "coexist"
    assert "can serve only 0.8" in case_words(case)


def test_a_model_alone_has_as_many_layers_as_fit() -> None:
    trials = [pair(engine(20)), pair(engine(30), engine(0)), pair(engine(0), engine(25))]
    fitting = Baseline("fit-alone", pair(engine(30), engine(25)), "alone")
    swap = verdict(study(trials, baselines=[fitting]))
    assert [(each.trial, each.n_gpu_layers) for each in swap.models] == [(1, 30), (2, 25)]


def test_a_trial_beyond_its_limits_does_not_show_that_its_layers_fit() -> None:
    assert "how many layers of chat fit alone" in verdict(study(WHOLE, excess_bytes=1.0)).missing[0]


def test_missing_measurements_are_listed() -> None:
    plain = verdict(study([pair(engine(20))]))
    assert len(plain.missing) == 2
    assert "how many layers of chat fit alone" in missing_words(plain)
    fitting = Baseline("fit-alone", pair(engine(30), engine(25)), "alone")
    planned = verdict(study([pair(engine(20))], baselines=[fitting]))
    assert "chat alone: no trial has 30 of its layers on the device" in planned.missing[0]
    other_context = Baseline("fit-alone", pair(engine(30, n_ctx=4096), engine(25)), "alone")
    unlike = verdict(study([pair(engine(20))], baselines=[other_context]))
    assert "no baseline fit-alone with the pick's context" in unlike.missing[0]
    older = study(WHOLE)
    trials = [trial.model_copy(update={"load_s": {}}) for trial in older.trials]
    assert "the load time of chat" in verdict(older.model_copy(update={"trials": trials})).missing[0]


def test_a_single_model_or_a_machine_without_a_device_has_no_verdict() -> None:
    whole = study(WHOLE)
    device = whole.hardware.device.model_copy(update={"kind": "cpu"})
    cpu = whole.model_copy(update={"hardware": whole.hardware.model_copy(update={"device": device})})
    assert "without one there is nothing to share" in verdict(cpu).missing[0]
    one = whole.model_copy(update={"models": {"chat": whole.models["chat"]}})
    assert "a single model does not share the device" in verdict(one).missing[0]
