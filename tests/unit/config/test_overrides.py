from pathlib import Path
from typing import Any

import pytest

from layertune.config.overrides import Overrides, study_config
from layertune.errors import ConfigError, UsageError
from layertune.units import GIB

DEMO = Path(__file__).parents[3] / "configs" / "studies" / "demo.toml"


def options(**changes: Any) -> Overrides:
    values: dict[str, Any] = {
        "models": [],
        "budget": None,
        "device": None,
        "n_trials": None,
        "timeout": None,
        "sampler": None,
        "settings": [],
        "seed": None,
        "folder": None,
    }
    return Overrides(**values | changes)


def test_models_alone_make_a_study() -> None:
    config = study_config(None, options(models=["chat=a.gguf", "code=b.gguf"], budget="5.5GiB", device="cpu", seed=3))
    assert list(config.models) == ["chat", "code"]
    assert config.models["chat"].path == Path.cwd() / "a.gguf"
    assert (config.budget.vram, config.device, config.seed) == (5.5 * GIB, "cpu", 3)


def test_options_win_over_the_config() -> None:
    changed = options(n_trials=3, timeout="90s", sampler="random", device="cpu", settings=["code.n_gpu_layers=20"])
    config = study_config(DEMO, changed)
    assert (config.search.n_trials, config.search.timeout, config.search.sampler) == (3, 90, "random")
    assert config.models["code"].space.n_gpu_layers == 20
    assert config.models["chat"].path.resolve() == study_config(DEMO, options()).models["chat"].path.resolve()


def test_a_setting_may_be_a_word_or_a_list() -> None:
    config = study_config(DEMO, options(settings=["chat.type_k=q8_0", "chat.n_ctx=[1024, 2048]"]))
    assert config.models["chat"].space.type_k == "q8_0"
    assert config.models["chat"].space.n_ctx == [1024, 2048]


def test_a_study_folder_names_the_study_where_no_config_does() -> None:
    assert study_config(None, options(models=["chat=a.gguf"], folder=Path("studies/mine"))).name == "mine"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({}, UsageError, "no model is given; give a CONFIG"),
        ({"models": ["a.gguf"]}, UsageError, "--model a.gguf has no = in it"),
        ({"models": ["chat=a"], "settings": ["fast"]}, UsageError, "--set fast has no = in it"),
        (
            {"models": ["chat=a"], "settings": ["code.n_ctx=1"]},
            UsageError,
            "there is no model 'code'; the models are chat",
        ),
        ({"models": ["chat=a"], "settings": ["chat.speed=9"]}, ConfigError, "unknown key models.chat.space.speed"),
        ({"models": ["chat=a"], "sampler": "magic"}, ConfigError, "command line: search.sampler"),
        ({"models": ["chat=a"], "budget": "much"}, ConfigError, "'much' is not a size"),
        ({"models": ["chat=a"], "device": "gpu:x"}, ConfigError, "'gpu:x' is not a device"),
    ],
)
def test_a_malformed_option_is_named(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        study_config(None, options(**changes))


def test_in_a_shared_storage_a_study_is_called_as_its_folder_but_for_one_that_goes_on(tmp_path: Path) -> None:
    shared = options(folder=Path("studies/demo-rtx4060"), shared=True)
    assert study_config(DEMO, shared).name == "demo-rtx4060"
    assert study_config(DEMO, options(folder=Path("studies/demo-rtx4060"))).name == "demo"
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "study.toml").write_text('name = "demo-rtx4060"\nmodels.chat.path = "a.gguf"\n')
    assert study_config(moved / "study.toml", options(folder=moved, shared=True)).name == "demo-rtx4060"


def test_a_preset_of_the_command_line_wins_over_the_config_and_other_options_over_the_preset() -> None:
    config = study_config(DEMO, options(preset="quick"))
    assert (config.search.preset, config.search.n_trials, config.finals.max_rounds) == ("quick", 8, 0)
    assert study_config(DEMO, options(preset="quick", n_trials=3)).search.n_trials == 3
    assert study_config(DEMO, options(preset="thorough")).search.timeout is None
