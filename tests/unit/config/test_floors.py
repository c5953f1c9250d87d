from pathlib import Path
from typing import Any

import pytest

from layertune.config import Floor, StudyConfig, load_config, parse_config
from layertune.errors import ConfigError


def parsed(**table: Any) -> StudyConfig:
    models = {"chat": {"path": "a.gguf"}, "code": {"path": "b.gguf"}}
    return parse_config({"models": models} | table, source="x.toml", folder=Path())


@pytest.mark.parametrize(
    ("text", "value", "shortfall"),
    [
        ("chat.tokens_per_s >= 20", 18.0, 2.0),
        ("chat.tokens_per_s >= 20", 25.0, -5.0),
        (" chat.ttft_s<=1.5 ", 2.0, 0.5),
        ("code.tpot_s <= 0.25", 0.25, 0.0),
    ],
)
def test_a_floor_says_by_how_much_a_value_misses_it(text: str, value: float, shortfall: float) -> None:
    assert Floor.parse(text, ["chat", "code"]).shortfall(value) == shortfall


def test_a_floor_is_written_as_it_is_read() -> None:
    for text in ("chat.tokens_per_s >= 20", "code.ttft_s <= 0.5"):
        assert str(Floor.parse(text, ["chat", "code"])) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("chat.tokens_per_s > 20", "is not a floor; write it like chat.tokens_per_s >= 20"),
        ("chat.tokens_per_s <= 20", "write chat.tokens_per_s with >="),
        ("chat.ttft_s >= 1", "write chat.ttft_s with <="),
        ("vram.peak_bytes <= 100", "memory already has a limit; set budget.vram"),
        ("other.ttft_s <= 1", "is not an objective; the models are chat, code"),
    ],
)
def test_a_malformed_floor_says_how_to_write_it(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.toml") as refused:
        parsed(floors=[text])
    assert why in str(refused.value)


def test_a_model_with_a_floor_is_no_objective_and_no_part_of_the_balance() -> None:
    config = parsed(floors=["chat.tokens_per_s >= 20"], weights={"code": 2})
    assert [each.name for each in config.resolved_objectives()] == ["code.tokens_per_s", "vram.peak_bytes"]
    assert config.resolved_weights() == {"chat": 0.0, "code": 2.0}


def test_where_every_model_has_a_floor_all_are_to_be_fast() -> None:
    config = parsed(floors=["chat.tokens_per_s >= 20", "code.tokens_per_s >= 5"])
    names = [each.name for each in config.resolved_objectives()]
    assert names == ["chat.tokens_per_s", "code.tokens_per_s", "vram.peak_bytes"]
    assert config.resolved_weights() == {"chat": 1.0, "code": 1.0}


def test_a_latency_with_a_floor_leaves_the_speed_an_objective() -> None:
    names = [each.name for each in parsed(floors=["chat.ttft_s <= 1"]).resolved_objectives()]
    assert "chat.tokens_per_s" in names


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"other": 1}, "there is no such model; the models are chat, code"),
        ({"chat": 0}, "weights.chat: 0 is not a number from 0.001 to 1000.0"),
    ],
)
def test_a_weight_is_a_models_and_above_nothing(weights: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parsed(weights=weights)


def test_a_warm_start_is_for_the_sampler_that_can_use_it(tmp_path: Path) -> None:
    assert parsed(search={"warm_start": "studies/old"}).search.warm_start == Path("studies/old")
    with pytest.raises(ConfigError, match="warm_start is for the sampler layer-split"):
        parsed(search={"warm_start": "studies/old", "sampler": "tpe"})
    file = tmp_path / "x.toml"
    file.write_text('search.warm_start = "old"\n[models.chat]\npath = "a.gguf"\n', encoding="utf-8")
    assert load_config(file).search.warm_start == tmp_path / "old"
