from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.config import IntRange, Objective, dimension_values, dump_config, load_config, parse_config
from layertune.errors import ConfigError
from layertune.units import MIB

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "studies").glob("*.toml"))


def parsed(**table: Any) -> Any:
    return parse_config({"models": {"chat": {"path": "a.gguf"}}} | table, source="x.toml", folder=Path("folder"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_survives_being_written_out(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    copy = tmp_path / "study.toml"
    copy.write_text(dump_config(config), encoding="utf-8")
    again = load_config(copy)
    paths = {name: model.path for name, model in config.models.items()}
    assert {
        name: model.model_copy(update={"path": paths[name]}) for name, model in again.models.items()
    } == config.models
    assert again.model_copy(update={"models": config.models}) == config


def test_model_paths_are_relative_to_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('[models.chat]\npath = "models/a.gguf"\n')
    assert load_config(tmp_path / "x.toml").models["chat"].path == tmp_path / "models" / "a.gguf"


def test_an_absolute_model_path_stays(tmp_path: Path) -> None:
    config = parse_config(
        {"models": {"chat": {"path": str(tmp_path / "a.gguf")}}}, source="x", folder=Path("elsewhere")
    )
    assert config.models["chat"].path == tmp_path / "a.gguf"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"models": {"chat": {"path": "x", "spce": 1}}}, "unknown key models.chat.spce"),
        ({"models": {"chat": {}}}, "models.chat: path is missing; add it"),
        (
            {"models": {"chat": {"path": "x", "space": {"n_gpu_layers": {"min": 5, "max": 2}}}}},
            "min = 5 is above max = 2",
        ),
        ({"models": {"chat": {"path": "x", "space": {"n_gpu_layers": -1}}}}, "models.chat.space.n_gpu_layers"),
        ({"models": {"chat": {"path": "x", "space": {"n_batch": [0]}}}}, "models.chat.space.n_batch"),
        ({"models": {"chat": {"path": "x", "space": {"type_k": "q9"}}}}, "models.chat.space.type_k"),
        ({"models": {"Chat Model": {"path": "x"}}}, "cannot name a model"),
        ({"models": {"lean": {"path": "x"}}}, "cannot name a model"),
        ({"budget": {"vram": "6 apples"}}, "'6 apples' is not a size"),
        ({"budget": {"vram": 0}}, "a budget of 0 bytes holds nothing; leave vram out for the device's whole memory"),
        ({"budget": {"vram": "0GiB"}}, "a budget of 0 bytes holds nothing"),
        ({"device": "gpu:0+1", "budget": {"vram": "4GiB+0"}}, "a budget of 0 bytes holds nothing"),
        ({"budget": {"vram": "1GiB", "margin": "1GiB"}}, "the margin of 1024.0 MiB leaves nothing of a budget of"),
        ({"search": {"timeout": "soon"}}, "'soon' is not a duration"),
        ({"search": {"sampler": "magic"}}, "search.sampler"),
        ({"device": "gpu"}, "'gpu' is not a device; write auto, cpu, gpu:0 or emulated:6GiB"),
        ({"device": "emulated:0"}, "holds nothing"),
        ({"device": "emulated:1GiB+0"}, "holds nothing"),
        ({"device": "emulated:1GiB+"}, "'' is not a size"),
        ({"device": "gpu:0+0"}, "'gpu:0+0' names a GPU twice"),
        ({"device": "gpu:0+"}, "'gpu:0+' is not a device"),
        ({"device": "emulated:" + "+".join(["1GiB"] * 16)}, "name 15 at most"),
        (
            {"device": "emulated:4GiB+2GiB", "budget": {"vram": "6GiB"}},
            "budget.vram has a size for one device, and emulated:4GiB+2GiB is 2 devices; write one for each",
        ),
        (
            {"device": "gpu:0", "budget": {"vram": "4GiB+2GiB"}},
            "budget.vram has a size for 2 devices, and gpu:0 is one device",
        ),
        ({"device": "gpu:0+1", "budget": {"vram": "4GiB+some"}}, "'some' is not a size"),
        (
            {"models": {"chat": {"path": "x", "space": {"tensor_split": "3,1"}}}},
            "models.chat: tensor_split = 3,1 is for 2 devices, and auto is one device; leave it out",
        ),
        (
            {"device": "gpu:0+1", "models": {"chat": {"path": "x", "space": {"tensor_split": ["1,1", "1,1,1"]}}}},
            "tensor_split = 1,1,1 is for 3 devices, and gpu:0+1 is 2 devices; give each its part",
        ),
        (
            {"device": "gpu:0+1", "models": {"chat": {"path": "x", "space": {"tensor_split": "all"}}}},
            "models.chat.space.tensor_split: 'all' is not a split of layers",
        ),
        ({"objectives": ["chat.joy"]}, "'chat.joy' is not an objective"),
        ({"objectives": []}, "objectives"),
        ({"name": "../escape"}, "name"),
        ({"models": {}}, "models"),
    ],
)
def test_a_wrong_key_is_named_with_its_file_in_one_sentence(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**table)
    message = str(caught.value)
    assert message.startswith("x.toml: ")
    assert words in message
    assert "\n" not in message


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("models = [\n")
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "bytes.toml")


def test_default_objectives_are_each_models_speed_and_peak_vram() -> None:
    assert parsed().resolved_objectives() == [
        Objective("chat.tokens_per_s", "maximize"),
        Objective("vram.peak_bytes", "minimize"),
    ]


def test_context_joins_the_objectives_when_it_is_searched() -> None:
    config = parsed(models={"chat": {"path": "a", "space": {"n_ctx": [2048, 4096]}}})
    assert Objective("chat.n_ctx", "maximize") in config.resolved_objectives()


def test_sizes_in_the_config_are_bytes() -> None:
    assert parsed(budget={"vram": "6141MiB", "margin": "100MB"}).budget.vram == 6141 * MIB


def test_each_of_several_devices_has_a_budget_of_its_own(tmp_path: Path) -> None:
    config = parsed(device="emulated:4GiB+2GiB", budget={"vram": "3GiB+1500MiB"})
    assert config.budget.vram == (3072 * MIB, 1500 * MIB)
    (tmp_path / "study.toml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "study.toml").budget == config.budget


@pytest.mark.parametrize(
    ("written", "splits"),
    [
        ("3,1", [(3.0, 1.0)]),
        ([3, 1], [(3.0, 1.0)]),
        (["3,1", "1,1"], [(3.0, 1.0), (1.0, 1.0)]),
        ([[3, 1], [1, 1]], [(3.0, 1.0), (1.0, 1.0)]),
    ],
)
def test_a_tensor_split_is_fixed_or_a_choice(written: Any, splits: list[tuple[float, ...]], tmp_path: Path) -> None:
    chat = {"path": str(tmp_path / "a.gguf"), "space": {"tensor_split": written}}
    config = parsed(device="gpu:0+1", models={"chat": chat})
    assert dimension_values(config.models["chat"].space.tensor_split) == splits
    (tmp_path / "study.toml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "study.toml").models == config.models


@pytest.mark.parametrize(
    ("bounds", "values"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"min": 1, "step": 3}, [1, 4, 5]),
        ({"min": 2, "max": 4}, [2, 3, 4]),
        ({"min": 2, "max": 999}, [2, 3, 4, 5]),
        ({"min": 7, "max": 9}, [7]),
        ({"min": 7}, [5]),
    ],
)
def test_a_range_of_layers_ends_at_the_whole_model(bounds: dict[str, int], values: list[int]) -> None:
    assert IntRange(**bounds).values(all_layers=5) == values


@given(
    st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=8), max_size=4)
)
def test_any_table_is_a_config_or_a_config_error(table: dict[str, Any]) -> None:
    try:
        parsed(**table)
    except ConfigError:
        return


@pytest.mark.parametrize(
    ("path", "words"),
    [("models/a\udcff.gguf", "is not UTF-8"), ("~no-such-user/a.gguf", "there is no home folder for ~no-such-user")],
)
def test_a_path_that_no_study_can_hold_is_refused_at_the_start(path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"x\.toml: models\.chat\.path: .*{words}"):
        parsed(models={"chat": {"path": Path(path)}})
    with pytest.raises(ConfigError, match=rf"x\.toml: search\.warm_start: .*{words}"):
        parsed(search={"warm_start": Path(path)})
