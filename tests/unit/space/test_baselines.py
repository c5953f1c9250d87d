from dataclasses import replace

import pytest

import small_study
from layertune.memory import GPU
from layertune.settings import SplitSettings
from layertune.space.baselines import baselines
from layertune.space.initial_design import extreme_settings
from layertune.units import MIB
from small_shapes import planner, shape
from small_study import N_LAYERS

PLANNER = planner(**{name: shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()})
SPACE = small_study.space()
WHOLE = {"chat": 13, "code": 21}


def taken_bytes(name: str, n_gpu_layers: int) -> int:
    plan = PLANNER.models[name].plan(SPACE.smallest().with_layers(name, n_gpu_layers)[name])
    return (plan.devices[GPU].total_bytes or 0) + plan.log_error_bytes


def found(capacity_bytes: int, device_bytes: int = 0) -> dict[str, SplitSettings | None]:
    rules = baselines(SPACE, PLANNER, capacity_bytes, device_bytes or capacity_bytes)
    return {each.name: each.settings for each in rules}


def layers(settings: SplitSettings | None) -> dict[str, int]:
    assert settings is not None
    return {name: engine.n_gpu_layers for name, engine in settings.items()}


BOTH_BYTES = taken_bytes("chat", 13) + taken_bytes("code", 21)


def test_every_rule_takes_all_layers_if_they_fit() -> None:
    rules = found(64 * BOTH_BYTES, 64 * BOTH_BYTES + 1024 * MIB)
    assert {name: layers(settings) for name, settings in rules.items()} == dict.fromkeys(rules, WHOLE)


def test_fit_depends_on_the_order_of_the_models() -> None:
    rules = found(BOTH_BYTES * 2 // 3)
    chat_first, code_first = layers(rules["fit-chat-first"]), layers(rules["fit-code-first"])
    assert chat_first["chat"] == 13
    assert code_first["code"] > chat_first["code"]
    assert code_first["chat"] < 13


@pytest.mark.parametrize("name", ["fit-chat-first", "fit-code-first"])
def test_fit_takes_as_many_layers_as_fit_and_not_one_more(name: str) -> None:
    capacity_bytes = BOTH_BYTES * 2 // 3
    chosen = layers(found(capacity_bytes)[name])
    first, last = ("chat", "code") if name == "fit-chat-first" else ("code", "chat")
    left_bytes = capacity_bytes - taken_bytes(first, chosen[first])
    assert taken_bytes(last, chosen[last]) <= left_bytes < taken_bytes(last, chosen[last] + 1)


def test_fit_alone_exceeds_the_card() -> None:
    chosen = found(max(taken_bytes("chat", 13), taken_bytes("code", 21)))["fit-alone"]
    assert layers(chosen) == WHOLE


def test_ollama_evicts_a_model_instead_of_splitting_another() -> None:
    enough_bytes = taken_bytes("chat", 13) + round(taken_bytes("code", 21) / 0.8) + 1
    assert layers(found(enough_bytes)["ollama"]) == WHOLE
    assert found(enough_bytes - 2)["ollama"] is None


def test_llama_server_s_defaults_leave_a_gibibyte_free_of_the_device_whatever_the_budget() -> None:
    assert layers(found(BOTH_BYTES, 1024 * MIB + BOTH_BYTES)["llama-server-defaults"]) == WHOLE
    assert layers(found(BOTH_BYTES, 1024 * MIB)["llama-server-defaults"]) == {"chat": 0, "code": 0}


def test_rules_choose_among_the_searched_layers() -> None:
    coarse = small_study.space(n_gpu_layers=[0, 6])
    rules = baselines(coarse, PLANNER, BOTH_BYTES, BOTH_BYTES)
    assert {layers(each.settings)["chat"] for each in rules if each.settings is not None} <= {0, 6}


def test_a_single_model_has_one_fit_baseline_and_none_of_ollama() -> None:
    alone = replace(SPACE, dimensions=tuple(each for each in SPACE.dimensions if each.model == "code"))
    alone = replace(alone, n_parallel={"code": 1}, n_layers={"code": 20})
    single = planner(code=shape(n_layer=20))
    assert [each.name for each in baselines(alone, single, MIB, MIB)] == ["fit", "llama-server-defaults"]


def test_the_extreme_settings_are_the_smallest_and_each_model_with_as_many_layers_as_fit() -> None:
    capacity_bytes = taken_bytes("code", 10) + taken_bytes("chat", 0)
    smallest, chat, code = (layers(each) for each in extreme_settings(SPACE, PLANNER, [capacity_bytes]))
    assert smallest == {"chat": 0, "code": 0}
    assert code == {"chat": 0, "code": 10}
    assert chat == {"chat": 10, "code": 0}


def test_the_second_extreme_setting_differs_from_the_smallest_only_in_its_threads() -> None:
    space = small_study.space(n_threads=[1, 4, 2])
    smallest, threaded, *_ = extreme_settings(space, PLANNER, [BOTH_BYTES])
    assert smallest["chat"].n_threads == 1
    assert threaded["chat"] == replace(smallest["chat"], n_threads=4)
    assert threaded["code"] == smallest["code"]
    own = small_study.space(n_threads=[1, 2], n_threads_batch=[1, 2, 4])
    assert extreme_settings(own, PLANNER, [BOTH_BYTES])[1]["chat"].prompt_threads == 4
