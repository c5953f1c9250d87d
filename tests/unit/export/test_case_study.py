"""Only trials measured with the fixed flags of the case study are exported to its compose file."""

from dataclasses import replace
from typing import Any

import pytest

from deployments import DEMO_FILES, WORKSHEET, recorded, study, worksheet
from layertune.errors import UsageError
from layertune.export import pick_for_case_study, unread_variables
from layertune.settings import EngineSettings


def both(engine: EngineSettings) -> dict[str, EngineSettings]:
    return {"chat": engine, "code": engine}


def test_picks_are_chosen_among_the_trials_with_the_fixed_flags() -> None:
    mixed = study([both(replace(WORKSHEET, n_threads=6)), both(WORKSHEET)], DEMO_FILES)
    assert pick_for_case_study(mixed, "balanced").number == 1
    assert pick_for_case_study(mixed, "1").number == 1


def test_a_trial_with_other_flags_is_refused() -> None:
    mixed = study([both(WORKSHEET) | {"code": replace(WORKSHEET, n_batch=256)}, both(WORKSHEET)], DEMO_FILES)
    with pytest.raises(
        UsageError, match="trial 0 is over the budget, or the case study's compose file cannot run it; choose one of 1"
    ):
        pick_for_case_study(mixed, "0")


@pytest.mark.parametrize(
    "changes", [{"n_threads": 2}, {"n_ctx": 2048}, {"n_ubatch": 64}, {"flash_attn": "off"}, {"type_k": "q8_0"}]
)
def test_without_such_a_trial_the_error_names_the_settings_to_search(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"search with --set chat\.n_ctx=1024 .*--set code\.n_threads=4"):
        pick_for_case_study(worksheet(**changes), "balanced")


def test_the_recorded_study_with_two_threads_is_refused() -> None:
    with pytest.raises(UsageError, match="has the -c 1024 -b 128 -t 4 of the case study"):
        pick_for_case_study(recorded(), "balanced")


def test_models_with_other_names_are_refused() -> None:
    others = worksheet().model_copy(update={"models": dict.fromkeys(("a", "b"), worksheet().models["chat"])})
    with pytest.raises(UsageError, match="serves chat and code; this study has a, b"):
        pick_for_case_study(others, "balanced")


def test_a_file_name_that_its_command_would_split_is_refused() -> None:
    spaced = study([both(WORKSHEET)], {"chat": "a b.gguf", "code": "b.gguf"})
    with pytest.raises(UsageError, match=r"the case study's compose file cannot hold the file name .*; rename"):
        pick_for_case_study(spaced, "balanced")


def test_every_variable_that_it_does_not_read_is_reported() -> None:
    found = unread_variables(worksheet(), worksheet().trial(0))
    assert "CHAT_N_CTX=1024 is not read by the case study's compose file, which has -c 1024" in found
    assert any(line.startswith("CODE_CACHE_RAM=") for line in found)
    assert not any("N_GPU_LAYERS" in line for line in found)
    assert len(found) == 2 * 9
