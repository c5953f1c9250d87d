"""When qualities cannot be compared or are unknown."""

from dataclasses import replace
from math import log
from typing import Any

import pytest

from layertune.engine.tokenizer import TokenizerFacts
from layertune.quality.divergence import Summary
from layertune.quality.refusals import looks_random, other_model, other_tokens, unknown_by_header
from small_shapes import shape

FACTS = TokenizerFacts(1000, "abc", "qwen2", None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_vocab": 1001}, "vocabulary"),
        ({"words_sha256": "abd"}, "vocabulary"),
        ({"bos": 1}, "BOS"),
        ({"pre": "llama3"}, "pre-tokenizer is 'llama3'"),
    ],
)
def test_models_with_other_tokens_are_not_compared(changes: dict[str, Any], reason: str) -> None:
    assert reason in (other_tokens(replace(FACTS, **changes), FACTS, same_ids=True) or "")


def test_equal_tokenizers_are_compared_if_they_read_the_same_tokens() -> None:
    assert other_tokens(FACTS, FACTS, same_ids=True) is None
    assert "other tokens" in (other_tokens(FACTS, FACTS, same_ids=False) or "")


@pytest.mark.parametrize(("share", "random"), [(0.5, False), (0.69, False), (0.71, True), (1.0, True)])
def test_a_model_that_predicts_no_text_has_random_weights(share: float, random: bool) -> None:
    by_kind = {kind: Summary(100, share * log(1000) + more, 1.0, None) for kind, more in (("a", 0.0), ("b", 2.0))}
    assert looks_random(by_kind, 1000) == random


def test_a_stand_in_s_quality_is_unknown_by_its_header() -> None:
    own = shape()
    assert unknown_by_header(own) is None
    marked = replace(own, metadata={**own.metadata, "layertune.standin": True})
    assert "random" in (unknown_by_header(marked) or "")


def test_a_model_of_another_size_is_another_model() -> None:
    own = shape()
    assert other_model(own, own) is None
    assert "n_layer" in (other_model(replace(own, n_layer=own.n_layer + 1), own) or "")
