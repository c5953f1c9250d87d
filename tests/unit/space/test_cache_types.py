"""Types of the K and the V cache as pairs: one dimension, so that not every combination is searched."""

from pathlib import Path
from typing import Any

import pytest

from layertune.config import StudyConfig, dump_config, load_config, parse_config
from layertune.config.overrides import Overrides, study_config
from layertune.errors import ConfigError
from layertune.space.search_space import SearchSpace

PAIRS = ["f16", "q8_0", "q8_0/q4_0"]


def config(**space: Any) -> StudyConfig:
    model = {"path": "a.gguf", "space": {"n_ctx": 1024, "n_batch": 256, "n_gpu_layers": [0, 4]} | space}
    return parse_config({"models": {"chat": model}}, source="x.toml", folder=Path())


def space(**changes: Any) -> SearchSpace:
    return SearchSpace.of(config(**changes), {"chat": 4}, n_threads=1)


def test_pairs_are_one_dimension_and_other_combinations_are_not_searched() -> None:
    paired = space(cache_types=PAIRS)
    assert [each.name for each in paired.searched] == ["chat.n_gpu_layers", "chat.cache_types"]
    found = {(each["chat"].type_k, each["chat"].type_v) for each in paired.enumerate()}
    assert found == {("f16", "f16"), ("q8_0", "q8_0"), ("q8_0", "q4_0")}
    assert config(cache_types=PAIRS).models["chat"].cache_types == [("f16", "f16"), ("q8_0", "q8_0"), ("q8_0", "q4_0")]
    assert len(config(type_k=["f16", "q8_0"], type_v=["f16", "q8_0"]).models["chat"].cache_types) == 4


def test_the_parameters_of_a_setting_lead_back_to_it() -> None:
    paired = space(cache_types=PAIRS)
    for settings in paired.enumerate():
        params = paired.params(settings)
        assert params["chat.cache_types"] in ("f16/f16", "q8_0/q8_0", "q8_0/q4_0")
        assert paired.settings(params) == settings


def test_a_single_pair_is_no_dimension_and_the_command_line_takes_it() -> None:
    overrides = Overrides(["chat=a.gguf"], None, "cpu", ["chat.cache_types=q8_0/q4_0"])
    assert study_config(None, overrides).models["chat"].cache_types == [("q8_0", "q4_0")]
    fixed = space(cache_types="q8_0/q4_0")
    assert all(each.field != "cache_types" for each in fixed.searched)
    assert {each["chat"].type_v for each in fixed.enumerate()} == {"q4_0"}


def test_the_resolved_config_can_be_read_again(tmp_path: Path) -> None:
    written = config(cache_types=PAIRS)
    (tmp_path / "study.toml").write_text(dump_config(written))
    assert load_config(tmp_path / "study.toml").models["chat"].cache_types == written.models["chat"].cache_types


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"cache_types": "q8_0/q9"},
            "models.chat.space.cache_types: 'q8_0/q9' is no pair of cache types like q8_0/q4_0",
        ),
        ({"cache_types": ["f16", 3]}, "models.chat.space.cache_types.1: 3 is no pair of cache types"),
        ({"cache_types": []}, "models.chat.space.cache_types is empty"),
        ({"cache_types": "q8_0", "type_k": "q8_0"}, "cache_types and type_k or type_v are both there; leave one out"),
    ],
)
def test_what_is_no_pair_is_refused_in_one_sentence(space: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**space)
    assert words in str(caught.value)
