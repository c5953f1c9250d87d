"""Contexts compared with what the models were trained with."""

from dataclasses import replace
from typing import Any

import pytest

from layertune.config import StudyConfig, parse_config
from layertune.errors import ConfigError
from layertune.study.trained_context import with_trained_context
from small_shapes import shape

SHAPES = {"a": replace(shape(), n_ctx_train=8192)}


def config(n_ctx: Any, **model: Any) -> StudyConfig:
    return parse_config({"models": {"a": {"path": "a.gguf", "space": {"n_ctx": n_ctx}, **model}}})


def n_ctx(written: Any, **model: Any) -> Any:
    return with_trained_context(config(written, **model), SHAPES).models["a"].space.n_ctx


def test_zero_is_what_the_model_was_trained_with_in_each_slot() -> None:
    assert n_ctx(0) == 8192
    assert n_ctx(0, n_parallel=4) == 4 * 8192
    assert n_ctx([4096, 0]) == [4096, 8192]


def test_no_more_context_than_that_is_searched() -> None:
    assert n_ctx([2048, 8192]) == [2048, 8192]
    assert n_ctx(16384, n_parallel=2) == 16384
    with pytest.raises(ConfigError, match=r"a: n_ctx = 8193 is more than .* 8192 tokens a request.*at most 8192"):
        n_ctx([2048, 8193])
    with pytest.raises(ConfigError, match=r"n_ctx = 32768 in 2 slots.*write at most 16384, or 0"):
        n_ctx(32768, n_parallel=2)


def test_of_several_files_the_one_with_the_least_counts() -> None:
    files = {"files": ["a.gguf", "b.gguf"], "path": None}
    shapes = {"a/a.gguf": SHAPES["a"], "a/b.gguf": replace(SHAPES["a"], n_ctx_train=4096)}
    assert with_trained_context(config(0, **files), shapes).models["a"].space.n_ctx == 4096
    with pytest.raises(ConfigError, match="is more than"):
        with_trained_context(config(8192, **files), shapes)


def test_a_workload_that_the_model_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the workload needs 9000 tokens of context, and .* was trained with 8192"):
        n_ctx(0, workload={"n_prompt": 8000, "n_generate": 1000})


def test_a_workload_that_does_not_fit_its_slot_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs 600 tokens of context and the smallest slot has 512"):
        n_ctx([1024, 4096], n_parallel=2, workload={"n_prompt": 500, "n_generate": 100})
