from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments import demo, study, worksheet
from finished_study import result, settings
from layertune.config.env_file import parse_env
from layertune.errors import ConfigError
from layertune.export import render_env
from layertune.export.flags import server_flags
from layertune.settings import FLOAT_CACHE_TYPES, EngineSettings
from layertune.verify.stack import Stack, stack_of, unread

FOLDERS = {"chat": Path("/models"), "code": Path("/models")}
TYPES = st.sampled_from([*sorted(FLOAT_CACHE_TYPES), "q8_0", "q4_0", "iq4_nl"])
ENGINES = st.builds(
    EngineSettings,
    n_gpu_layers=st.integers(0, 99),
    n_ctx=st.integers(1, 65536),
    n_batch=st.integers(1, 4096),
    n_ubatch=st.integers(1, 4096),
    n_threads=st.integers(1, 64),
    n_parallel=st.integers(1, 8),
    flash_attn=st.sampled_from(["on", "off"]),
    type_k=TYPES,
    type_v=TYPES,
    n_cpu_moe=st.integers(0, 8),
    n_cpu_ffn=st.integers(0, 8),
    n_threads_batch=st.none() | st.integers(1, 64),
    kv_offload=st.sampled_from(["on", "off"]),
    kv_unified=st.sampled_from(["on", "off"]),
)


def stack(variables: Mapping[str, str]) -> Stack:
    return stack_of(result(), result().trial(1), FOLDERS, variables)


def test_without_an_env_the_stack_is_the_exported_pick() -> None:
    found = stack({})
    trial = result().trial(1)
    assert found.settings == settings(37, 20)
    assert list(found.models["chat"].flags) == server_flags(result(), trial, "chat")
    assert found.models["code"].file == Path("/models/code.gguf")
    assert found.trial == trial


@given(ENGINES, ENGINES)
def test_the_env_of_a_trial_replaces_the_settings_of_any_pick(chat: EngineSettings, code: EngineSettings) -> None:
    made = study([{"chat": chat, "code": code}], {"chat": "a.gguf", "code": "b c.gguf"})
    variables = parse_env(render_env(made, made.trial(0)), "test")
    # A variable that the .env leaves out has its default; the experts' is left out where there are none on the host.
    other = {name: EngineSettings(n_gpu_layers=1, n_ctx=8, n_batch=8, n_ubatch=8, n_threads=1) for name in made.models}
    pick = made.trial(0).model_copy(update={"settings": other})
    found = stack_of(made, pick, FOLDERS, variables)
    assert dict(found.settings.items()) == {"chat": chat, "code": code}
    for name in made.models:
        assert list(found.models[name].flags) == server_flags(made, made.trial(0), name)
    assert found.models["code"].file == Path("/models/b c.gguf")
    assert found.trial == made.trial(0)


def test_only_a_trial_with_the_same_settings_is_compared() -> None:
    made = worksheet(20, 22)
    found = stack_of(made, made.trial(0), FOLDERS, {"CODE_N_GPU_LAYERS": "22"})
    assert found.trial == made.trial(1)
    assert stack_of(made, made.trial(0), FOLDERS, {"CODE_N_GPU_LAYERS": "23"}).trial is None


def test_flash_attention_compares_as_what_it_became() -> None:
    made = demo()
    became = made.trial(0).model_copy(update={"flash_attn": {"chat": True, "code": True}})
    made = made.model_copy(update={"trials": [became]})
    variables = {"CHAT_FLASH_ATTN": "on", "CODE_FLASH_ATTN": "on"}
    assert stack_of(made, became, FOLDERS, variables).trial == became
    assert stack_of(made, became, FOLDERS, variables | {"CODE_FLASH_ATTN": "off"}).trial is None


def test_the_server_gets_the_prompt_cache_of_the_env() -> None:
    flags = {flag.option: flag.value for flag in stack({"CHAT_CACHE_RAM": "17"}).models["chat"].flags}
    assert flags["cache-ram"] == "17"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CHAT_N_GPU_LAYERS", "-1", "CHAT_N_GPU_LAYERS is '-1'; write a whole number from 0 to 2147483647"),
        ("CODE_N_CTX", "0", "CODE_N_CTX is '0'; write a whole number from 1 to 16777216"),
        ("CODE_N_CTX", str(2**32 + 256), "CODE_N_CTX is '4294967552'; write a whole number from 1 to 16777216"),
        ("CODE_N_CTX", "9" * 5000, "CODE_N_CTX is '999"),
        ("CHAT_CACHE_RAM", "1e30", "CHAT_CACHE_RAM is '1e30'; write a whole number from -1 to 2147483647"),
        ("CODE_THREADS", "two", "CODE_THREADS is 'two'; write a whole number"),
        ("CHAT_FLASH_ATTN", "yes", "CHAT_FLASH_ATTN is 'yes'; Input should be 'auto', 'on' or 'off'"),
        ("CHAT_TYPE_K", "q9", "CHAT_TYPE_K is 'q9'; Input should be"),
    ],
)
def test_an_invalid_value_is_named_with_its_variable(variable: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        stack({variable: value})
    assert str(raised.value).startswith(words)


def test_an_unknown_variable_of_a_model_is_reported() -> None:
    variables = {
        "CODE_N_GPU_LAYER": "1",
        "CHAT_PORT": "8001",
        "MODELS_DIR": "/m",
        "CHAT_MODEL": "a",
        "CODE_N_CPU_MOE": "0",
    }
    assert unread(["chat", "code"], variables) == ["CODE_N_GPU_LAYER"]


def test_every_setting_has_its_variable() -> None:
    ends = ("N_GPU_LAYERS", "N_CTX", "N_BATCH", "N_UBATCH", "THREADS", "PARALLEL", "N_CPU_MOE")
    variables = {f"CHAT_{end}": "77" for end in ends}
    variables |= {"CHAT_FLASH_ATTN": "off", "CHAT_TYPE_K": "f32", "CHAT_TYPE_V": "bf16"}
    before, after = stack({}).settings["chat"].as_dict(), stack(variables).settings["chat"].as_dict()
    assert [field for field, value in before.items() if value == after[field]] == []
    assert list(after.values()).count(77) == len(ends)
