import json
from importlib.util import find_spec
from io import StringIO

import pytest
from hypothesis import example, given, settings

from finalists import finalist, rounds
from finalists import trial as measured_once
from finished_study import result
from layertune.errors import UsageError
from layertune.export import render_env, render_json
from layertune.results.result import Result, TrialInfo
from layertune.units import MIB
from names import HOSTILE
from readers import SHELL, compose_variables, shell_variables


def test_the_env_marks_an_emulated_card() -> None:
    assert "# EMULATED: " in render_env(result(), result().trial(1))


def test_the_json_is_read_back_as_the_same_trial() -> None:
    record = json.loads(render_json(result(), result().trial(1)))
    assert TrialInfo.model_validate(record["trial"]) == result().trial(1)
    assert record["hardware"]["device"]["kind"] == "emulated"


def test_the_env_marks_a_trial_over_a_limit() -> None:
    trial = result().trial(1).model_copy(update={"violations": {"vram": 3.0 * MIB, "ram.chat": -1.0}})
    assert "# OVER ITS LIMIT: vram by 3.0 MiB\n" in render_env(result(), trial)
    assert "ram.chat" not in render_env(result(), trial)


def test_the_env_gives_the_stage_and_the_intervals_of_its_speeds() -> None:
    finalists = [finalist(number, 100, chat=rounds(20.0, 21.0, 20.5), code=rounds(9.0, 9.1, 9.2)) for number in (0, 1)]
    study = result(trials=finalists)
    assert "# the speeds are those of 3 rounds of the finals\n" in render_env(study, study.trial(0))
    told = study.trial(0).model_copy(update={"n_confirming": 5})
    assert "# the speeds are those of 5 validation runs\n" in render_env(study, told)
    assert "# chat: 20.5 ± 1.6 tokens/s alone" in render_env(study, study.trial(0))


def test_a_speed_of_one_sample_has_no_interval() -> None:
    once = measured_once(0, {"chat": [20.0], "code": [9.0]})
    study = result(trials=[once])
    assert "# chat: 20.0 tokens/s (n = 1) alone" in render_env(study, study.trial(0))


def test_a_single_model_on_a_cpu_has_no_others_and_no_vram() -> None:
    data = result().model_dump()
    data["hardware"]["device"] = {"kind": "cpu", "name": "Test CPU", "vram_bytes": None, "driver": None}
    data["budget"]["vram_bytes"] = None
    for table in (data["models"], data["workload"], *(trial["settings"] for trial in data["trials"])):
        del table["code"]
    for trial in data["trials"]:
        trial["vram"] = None
        for part in ("metrics", "buffers", "load_s", "flash_attn"):
            if trial[part]:
                del trial[part]["code"]
    study = Result.model_validate(data)
    text = render_env(study, study.trial(1))
    assert "with the others" not in text
    assert "VRAM" not in text
    assert "CODE_" not in text


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
@example("a'\nEVIL=1")
@example("$(id)")
@example(" # x")
def test_compose_and_a_shell_read_any_file_name_that_is_not_refused(name: str) -> None:
    study = result(file=name)
    try:
        text = render_env(study, study.trial(1))
    except UsageError:
        return
    variables = compose_variables(text)
    assert variables["CHAT_MODEL"] == name
    assert list(variables) == list(compose_variables(render_env(result(), result().trial(1))))
    if SHELL is not None:
        assert shell_variables(text, list(variables)) == variables


@pytest.mark.skipif(find_spec("dotenv") is None, reason="no python-dotenv here")
@settings(deadline=None)
@given(HOSTILE)
@example("${HOME}")
def test_python_dotenv_reads_any_file_name_that_is_not_refused(name: str) -> None:
    """As docker-compose 1 does, which replaces variables also between single quotes."""
    from dotenv import dotenv_values

    study = result(file=name)
    try:
        text = render_env(study, study.trial(1))
    except UsageError:
        return
    assert dotenv_values(stream=StringIO(text))["CHAT_MODEL"] == name


@given(HOSTILE)
def test_text_of_the_header_stays_within_comments(word: str) -> None:
    study = result(name=word, sampler=word)
    device = study.hardware.device.model_copy(update={"name": word})
    study = study.model_copy(update={"hardware": study.hardware.model_copy(update={"device": device})})
    assert compose_variables(render_env(study, study.trial(1))) == compose_variables(
        render_env(result(), result().trial(1))
    )


@pytest.mark.parametrize("name", ["a'b.gguf", "a\nB=1.gguf", "a\\.gguf", "a\x1b.gguf", "a\udcff.gguf", "${HOME}.gguf"])
def test_a_file_name_that_cannot_be_quoted_is_refused(name: str) -> None:
    study = result(file=name)
    with pytest.raises(UsageError, match=r"a \.env file cannot hold the file name .*; rename"):
        render_env(study, study.trial(1))


@pytest.mark.parametrize(
    "name", ["$(touch pwned).gguf", "`id`.gguf", "$HOME.gguf", "# x.gguf", "a b.gguf", "한국어.gguf"]
)
def test_nothing_in_a_file_name_is_expanded(name: str) -> None:
    study = result(file=name)
    assert f"CHAT_MODEL='{name}'\n" in render_env(study, study.trial(1))
