"""What follows for a model's config from what it is for."""

from dataclasses import replace
from typing import Any

import pytest

from layertune.config import ModelConfig, parse_config
from layertune.errors import ConfigError
from layertune.models import ModelShape
from layertune.space.search_space import SearchSpace
from layertune.study.kinds import with_kinds
from small_shapes import shape

BERT = replace(shape("bert", pooling_type=1), n_ctx_train=512)
QWEN = shape("qwen3", pooling_type=3)


def resolved(of: ModelShape = BERT, objectives: list[str] | None = None, **model: Any) -> ModelConfig:
    table: dict[str, Any] = {"models": {"a": {"path": "a.gguf", **model}}}
    config = parse_config(table | ({"objectives": objectives} if objectives else {}))
    return with_kinds(config, {"a": of}).models["a"]


def test_an_embedding_model_has_a_prompt_that_fits_one_physical_batch() -> None:
    model = resolved()
    assert (model.kind, model.pooling) == ("embedding", "mean")
    assert (model.workload.n_prompt, model.workload.n_generate) == (512, 0)
    assert (model.space.n_ctx, model.space.n_batch, model.space.n_ubatch) == (512, 512, 512)
    assert resolved(workload={"n_prompt": 256}, n_parallel=2).space.n_ctx == 512


def test_resolving_it_again_changes_nothing() -> None:
    once = with_kinds(parse_config({"models": {"a": {"path": "a.gguf"}}}), {"a": BERT})
    assert with_kinds(once, {"a": BERT}) == once


def test_a_causal_one_may_have_a_smaller_batch_than_its_context() -> None:
    space = resolved(QWEN, space={"n_ctx": 2048}).space
    assert (space.n_ctx, space.n_batch, space.n_ubatch) == (2048, 512, 512)


def test_a_model_that_generates_stays_as_it_is() -> None:
    assert resolved(shape()) == parse_config({"models": {"a": {"path": "a.gguf"}}}).models["a"]


def test_its_engines_have_the_pooling_and_one_size_of_batch() -> None:
    config = with_kinds(parse_config({"models": {"a": {"path": "a.gguf"}}}), {"a": BERT})
    space = SearchSpace.of(config, {"a": 4}, n_threads=1)
    assert {(each.pooling, each.n_batch, each.n_ubatch) for each in space.engines("a")} == {("mean", 512, 512)}


@pytest.mark.parametrize(
    ("of", "model", "words"),
    [
        (BERT, {"workload": {"n_generate": 16}}, "an embedding model generates nothing"),
        (BERT, {"space": {"n_ctx": [256, 512]}, "workload": {"n_prompt": 256}}, "so n_ctx has one value"),
        (BERT, {"space": {"n_ubatch": 256}}, "n_ubatch is from 512 to 512"),
        (BERT, {"space": {"n_batch": 256}}, "makes n_batch of an embedding or reranking model equal to n_ubatch"),
        (BERT, {"space": {"n_ctx": 256}}, "an input of 512 tokens needs a slot of 512"),
        (shape(), {"pooling": "mean"}, "generates text: it has no pooling"),
        (shape(), {"workload": {"n_generate": 0}}, "n_generate is at least 2"),
        (BERT, {"objectives": ["a.tg_tokens_per_s"]}, "an embedding model, which generates no tokens"),
    ],
)
def test_what_such_a_model_cannot_do_is_refused(of: ModelShape, model: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolved(of, **model)
