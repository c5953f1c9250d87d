"""The tables [measurement] and [finals]."""

from pathlib import Path
from typing import Any

import pytest

from layertune.config import StudyConfig, dump_config, load_config, parse_config
from layertune.errors import ConfigError


def parsed(**table: Any) -> StudyConfig:
    return parse_config({"models": {"chat": {"path": "a.gguf"}}} | table, source="x.toml", folder=Path("folder"))


def test_without_the_tables_a_study_measures_until_it_knows_and_holds_finals() -> None:
    config = parsed()
    assert 2 <= config.measurement.min_repeats < config.measurement.max_repeats
    assert config.measurement.max_attempts > 1
    assert config.measurement.reference_every > 0
    assert config.finals.max_rounds >= 3
    assert config.finals.target_spread <= config.measurement.target_spread


def test_every_key_of_the_tables_is_read_and_survives_being_written_out(tmp_path: Path) -> None:
    measurement = {
        "min_repeats": 4,
        "max_repeats": 20,
        "target_spread": 0.05,
        "max_time": "1m",
        "warm_up": "2s",
        "max_attempts": 3,
        "reference_every": 0,
    }
    finals = {
        "max_rounds": 0,
        "max_finalists": 2,
        "n_repeats": 1,
        "target_spread": 0.005,
        "beside_prefill": 1,
        "at_depth": 2,
        "confirming_rounds": 2,
    }
    config = parsed(measurement=measurement, finals=finals)
    assert config.measurement.model_dump() == measurement | {"max_time": 60.0, "warm_up": 2.0}
    assert config.finals.model_dump() == finals
    (tmp_path / "study.toml").write_text(dump_config(config), encoding="utf-8")
    again = load_config(tmp_path / "study.toml")
    assert (again.measurement, again.finals) == (config.measurement, config.finals)


@pytest.mark.parametrize("least", [2, 3])
def test_a_fixed_number_of_repetitions_is_both_bounds_at_once(least: int) -> None:
    fixed = parsed(measurement={"min_repeats": least, "max_repeats": least}).measurement
    assert (fixed.min_repeats, fixed.max_repeats) == (least, least)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"measurement": {"min_repeats": 5, "max_repeats": 4}}, "max_repeats = 4 is below min_repeats = 5"),
        ({"measurement": {"max_repeats": 2}}, "max_repeats = 2 is below min_repeats = 3"),
        ({"measurement": {"min_repeats": 1}}, "measurement.min_repeats"),
        ({"measurement": {"target_spread": 0}}, "measurement.target_spread"),
        ({"measurement": {"target_spread": 1}}, "measurement.target_spread"),
        ({"measurement": {"warm_up": "soon"}}, "'soon' is not a duration"),
        ({"measurement": {"max_attempts": 0}}, "measurement.max_attempts"),
        ({"measurement": {"reference_every": -1}}, "measurement.reference_every"),
        ({"measurement": {"n_repeats": 3}}, "unknown key measurement.n_repeats"),
        ({"finals": {"max_rounds": -1}}, "finals.max_rounds"),
        ({"finals": {"max_finalists": 0}}, "finals.max_finalists"),
        ({"finals": {"n_repeats": 0}}, "finals.n_repeats"),
        ({"finals": {"rounds": 3}}, "unknown key finals.rounds"),
        ({"search": {"n_repeats": 3}}, "unknown key search.n_repeats"),
    ],
)
def test_a_wrong_key_is_named_with_its_file_in_one_sentence(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**table)
    message = str(caught.value)
    assert message.startswith("x.toml: ")
    assert words in message
    assert "\n" not in message


def test_a_model_with_more_threads_than_its_container_has_is_refused() -> None:
    model = {"path": "a.gguf", "space": {"n_threads": [2, 8]}}
    with pytest.raises(ConfigError, match=r"models\.chat: n_threads = 8 is more than its container has"):
        parsed(models={"chat": model}, host={"n_cpus": 4})
    assert parsed(models={"chat": model}, host={"n_cpus": 8}).host.n_cpus == 8
    model["space"] = {"n_threads": 2, "n_threads_batch": [2, 6]}
    with pytest.raises(ConfigError, match=r"models\.chat: n_threads = 6 is more than its container has"):
        parsed(models={"chat": model}, host={"n_cpus": 4})


@pytest.mark.parametrize(("preset", "max_rounds", "timeout"), [("quick", 0, 3600.0), ("thorough", 12, None)])
def test_a_preset_sets_what_the_config_does_not(preset: str, max_rounds: int, timeout: float | None) -> None:
    table = {"models": {"chat": {"path": "a.gguf"}}, "search": {"preset": preset}, "finals": {"confirming_rounds": 7}}
    config = parse_config(table, source="test", folder=Path())
    assert (config.finals.max_rounds, config.search.timeout) == (max_rounds, timeout)
    assert config.finals.confirming_rounds == 7
