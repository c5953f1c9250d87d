"""What a search measures, by the config."""

import pytest

from layertune.config import StudyConfig, parse_config
from layertune.study.search_task import long_contexts


def config(n_ctx: int | list[int], **changes: object) -> StudyConfig:
    chat = {"path": "chat.gguf", "workload": {"n_prompt": 64, "n_generate": 16}, "space": {"n_ctx": n_ctx}}
    return parse_config({"models": {"chat": chat | changes}, "device": "cpu", "search": {"trial_timeout": 100}})


@pytest.mark.parametrize(
    ("n_ctx", "n_parallel", "is_long"),
    [(320, 1, False), (321, 1, True), ([160, 4096], 1, True), (1280, 4, False), (1284, 4, True)],
)
def test_a_context_is_long_if_the_largest_slot_holds_more_than_four_workloads(
    n_ctx: int | list[int], n_parallel: int, is_long: bool
) -> None:
    assert long_contexts(config(n_ctx, n_parallel=n_parallel)) == ({"chat": 50.0} if is_long else {})


def test_slots_that_share_one_cache_may_each_fill_it() -> None:
    space = {"n_ctx": 1280, "kv_unified": "on"}
    assert long_contexts(config(1280, n_parallel=4, space=space)) == {"chat": 50.0}


def test_the_models_with_a_long_context_share_half_of_a_trial_s_time() -> None:
    of_one = config(4096).models["chat"]
    two = config(4096).model_copy(update={"models": {"chat": of_one, "code": of_one}})
    assert long_contexts(two) == {"chat": 25.0, "code": 25.0}


def test_a_model_that_generates_nothing_is_not_measured_at_depth() -> None:
    embedding = {"workload": {"n_prompt": 64, "n_generate": 0}, "kind": "embedding"}
    assert long_contexts(config(4096, **embedding)) == {}
