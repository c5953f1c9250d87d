"""Every number of a file or an option has a least and a most, and a value outside is refused where it is read."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.config import HardwareProfile, StudyConfig, dump_config, load_config, load_hardware, parse_config
from layertune.config.overrides import Overrides, study_config
from layertune.config.scenario_file import ScenarioConfig, load_scenarios
from layertune.errors import ConfigError, UsageError

NUMBERS = ("integer", "number")
HUGE = [1e30, float("inf"), float("-inf"), float("nan"), 10**400, -1, 2**63, True, "soon", datetime.date(2026, 1, 1)]


def number_keys(
    schema: dict[str, Any], definitions: dict[str, Any]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path of every number in a schema, with `*` for any name and for any place in a list, and its schema."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type")
    if any(kind in NUMBERS for kind in ([kinds] if isinstance(kinds, str) else kinds or [])):
        yield (), schema
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from number_keys(part, definitions)
    named = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        named["*"] = schema["additionalProperties"]
    for name, part in named.items():
        for path, found in number_keys(part, definitions):
            yield (name, *path), found


def numbers_of(model: Any) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    schema = model.model_json_schema()
    return list(number_keys(schema, schema["$defs"]))


@pytest.mark.parametrize("model", [StudyConfig, HardwareProfile, ScenarioConfig])
def test_every_number_has_a_least_and_a_most(model: Any) -> None:
    found = numbers_of(model)
    assert found
    # A baseline's numbers have to be among the values of the space, which have ranges.
    unbounded = {
        ".".join(path)
        for path, schema in found
        if path[0] != "baselines"
        and ("maximum" not in schema or schema.keys().isdisjoint({"minimum", "exclusiveMinimum"}))
    }
    assert unbounded - {"models.*.space.tensor_split"} == set()


def study(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a table with that value at that path."""
    table: dict[str, Any] = {"models": {"chat": {"path": "a.gguf"}}}
    place = table
    *folders, key = ("chat" if name == "*" else name for name in path)
    for name in folders:
        place = place.setdefault(name, {})
    place[key] = value
    return table


@pytest.mark.parametrize("value", HUGE, ids=lambda value: "digits" if value == 10**400 else str(value))
@pytest.mark.parametrize("path", sorted({path for path, _ in numbers_of(StudyConfig)}), ids=".".join)
def test_a_number_out_of_its_range_is_refused_with_its_key(path: tuple[str, ...], value: Any) -> None:
    if path[0] == "baselines":
        return
    table = study(path, value)
    with pytest.raises(ConfigError) as caught:
        parse_config(table, source="x.toml", folder=Path())
    message = str(caught.value)
    assert message.startswith("x.toml: ")
    assert path[-1] in message or path[0] in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("seed",), 1e30, "seed: 1e+30 is not a whole number from 0 to 4294967295"),
        (("weights", "*"), float("inf"), "weights.chat: inf is not a number from 0.001 to 1000.0"),
        (("search", "trial_timeout"), float("inf"), "search.trial_timeout: inf is not a duration from 0 to 336h"),
        (("search", "trial_timeout"), "9" * 400, "is not a duration from 0 to 336h"),
        (("models", "*", "space", "n_threads"), 10**9, "n_threads: 1000000000 is not a whole number from 1 to 512"),
        (("models", "*", "space", "n_ctx"), [4096, 2**32 + 256], "n_ctx: 4294967552 is not a whole number from 0 to"),
        (("models", "*", "n_parallel"), 257, "n_parallel: 257 is not a whole number from 1 to 256"),
        (("budget", "vram"), "999999999999999 GiB", "budget.vram: '999999999999999 GiB' is not a size from 0 to"),
        (("budget", "margin"), float("nan"), "budget.margin: nan is not a size; write it like 6GiB"),
        (("budget", "vram"), datetime.date(2026, 1, 1), "budget.vram: 2026-01-01 is not a size"),
        (("budget", "vram"), {"size": 1}, "budget.vram: {'size': 1} is not a size"),
        (("budget", "vram"), True, "budget.vram: True is not a size"),
        (("floors",), [f"chat.tokens_per_s >= {'9' * 400}"], "a floor is a number from 0 to 1000000000"),
        (("device",), f"emulated:{'9' * 400}", "is not a size from 0 to"),
        (("device",), f"gpu:{'9' * 5000}", "is not a device"),
        (("models", "*", "space", "tensor_split"), [10**400, 1], "is not a split of layers"),
        (("models",), {f"m{number}": {"path": "a.gguf"} for number in range(65)}, "at most 64 items"),
    ],
)
def test_the_sentence_has_key_value_and_range(path: tuple[str, ...], value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(study(path, value), source="x.toml", folder=Path())
    assert words in str(caught.value)


@given(st.data())
def test_any_values_are_a_config_that_can_be_written_and_read_or_a_config_error(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted({path for path, _ in numbers_of(StudyConfig)})))
    value = data.draw(
        st.integers()
        | st.floats()
        | st.booleans()
        | st.text(max_size=5)
        | st.dates()
        | st.lists(st.integers(), max_size=3)
    )
    try:
        config = parse_config(study(path, value), source="x.toml", folder=Path())
    except ConfigError:
        return
    assert dump_config(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = " + "9" * 5000, "is not TOML"),
        ("seed = " + "[" * 3000, "brackets are nested too deeply"),
        ("seed = " + "{a=" * 3000, "is not TOML"),
    ],
    ids=["digits", "brackets", "tables"],
)
@pytest.mark.parametrize("load", [load_config, load_hardware, load_scenarios])
def test_toml_that_python_cannot_read_is_refused_in_a_sentence(
    load: Any, text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load(path)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "options",
    [
        {"settings": [f"chat.n_ctx={'9' * 5000}"]},
        {"settings": [f"chat.n_ctx={'[' * 3000}"]},
        {"settings": ["chat.n_ctx=nan"]},
        {"settings": ["chat.n_ctx=2026-01-01"]},
        {"settings": ["chat.n_ctx=4294967552"]},
        {"settings": ["chat.n_threads=1000000000"]},
        {"settings": [f"chat.{'x' * 10**6}=1"]},
        {"settings": [f"{'x' * 10**6}=1"]},
        {"budget": "9" * 5000},
        {"budget": "999999999999999GiB"},
        {"device": f"emulated:{'9' * 5000}GiB"},
        {"device": "emulated:1GiB" + "+1GiB" * 10**5},
        {"n_trials": 0},
        {"n_trials": 10**9},
        {"seed": -1},
        {"timeout": "9" * 400},
        {"sampler": "x" * 10**6},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_are_bounded_as_the_file_is(options: dict[str, Any]) -> None:
    given = {"budget": None, "device": None, "settings": []} | options
    with pytest.raises(UsageError) as caught:
        study_config(None, Overrides(models=["chat=a.gguf"], **given))
    assert len(str(caught.value)) < 2100
