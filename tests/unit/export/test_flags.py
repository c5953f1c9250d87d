"""What the flags say beside a trial's own numbers: flash attention, the prompt cache, experts."""

from dataclasses import replace
from typing import Any

import pytest

from deployments import CONTAINERS, recorded
from finished_study import result
from layertune.config.env_file import parse_env
from layertune.errors import UsageError
from layertune.export import EXPORTERS
from layertune.export.compose import render_compose
from layertune.export.env import render_env
from layertune.export.flags import ports, server_flags
from layertune.export.llama_server import command, render_llama_server
from layertune.export.ollama import render_ollama
from layertune.results.result import HostLimitsInfo, Result
from layertune.results.trial_info import BufferInfo, TrialInfo
from layertune.settings import DEFAULTS, SWITCHES
from layertune.units import GIB, MIB


def flags(study: Result, trial: TrialInfo, name: str = "chat") -> dict[str, str]:
    return {flag.option: flag.value for flag in server_flags(study, trial, name)}


@pytest.mark.parametrize(("became", "flag"), [(True, "on"), (False, "off"), (None, "auto")])
def test_automatic_flash_attention_is_exported_as_what_it_became(became: bool | None, flag: str) -> None:
    trial = result().trial(1).model_copy(update={"flash_attn": {} if became is None else {"chat": became}})
    assert flags(result(), trial)["flash-attn"] == flag


def test_explicit_flash_attention_is_exported_unchanged() -> None:
    trial = result().trial(1)
    settings = trial.settings | {"chat": replace(trial.settings["chat"], flash_attn="off")}
    assert flags(result(), trial.model_copy(update={"settings": settings}))["flash-attn"] == "off"


def with_host_buffers(weights_bytes: int, kv_bytes: int) -> TrialInfo:
    on_host = BufferInfo(weights_bytes=weights_bytes, kv_bytes=kv_bytes, compute_bytes=0, output_bytes=0)
    return result().trial(1).model_copy(update={"buffers": {"chat": {"host": on_host}}})


def test_the_prompt_cache_is_what_the_containers_ram_limit_leaves() -> None:
    study = result(host_limits=HostLimitsInfo(n_cpus=None, ram_per_model_bytes=4 * GIB))
    chat = study.models["chat"].model_copy(update={"file_bytes": 3 * GIB})
    study = study.model_copy(update={"models": study.models | {"chat": chat}})
    assert flags(study, with_host_buffers(GIB, 100 * MIB))["cache-ram"] == str(4096 - 512 - 1024 - 100)


def test_repacked_weights_count_once_as_in_the_search() -> None:
    study = result(host_limits=HostLimitsInfo(n_cpus=None, ram_per_model_bytes=4 * GIB))
    chat = study.models["chat"].model_copy(update={"file_bytes": GIB})
    study = study.model_copy(update={"models": study.models | {"chat": chat}})
    assert flags(study, with_host_buffers(2 * GIB, 0))["cache-ram"] == str(4096 - 512 - 1024)


def test_a_full_container_has_no_prompt_cache() -> None:
    study = result(host_limits=HostLimitsInfo(n_cpus=None, ram_per_model_bytes=100 * MIB))
    assert flags(study, study.trial(1))["cache-ram"] == "0"


def test_without_a_limit_each_model_has_an_equal_share_of_the_ram() -> None:
    study = result()  # 16 GiB and two models, whose files have a byte each
    assert flags(study, study.trial(1))["cache-ram"] == str(8192 - 512 - 1)


def test_the_prompt_cache_is_at_most_llama_servers_default() -> None:
    study = result(host_limits=HostLimitsInfo(n_cpus=None, ram_per_model_bytes=64 * GIB))
    assert flags(study, study.trial(1))["cache-ram"] == "8192"


@pytest.mark.parametrize("field", ["n_cpu_moe", "n_cpu_ffn"])
def test_tensors_kept_on_the_host_are_exported(field: str) -> None:
    trial, option = result().trial(1), field.replace("_", "-")
    changes: dict[str, Any] = {field: 7}
    settings = trial.settings | {"chat": replace(trial.settings["chat"], **changes)}
    assert flags(result(), trial.model_copy(update={"settings": settings}))[option] == "7"
    assert option not in flags(result(), trial)


def test_threads_of_prompts_are_those_of_tokens_unless_they_have_their_own() -> None:
    trial = result().trial(1)
    settings = trial.settings | {"chat": replace(trial.settings["chat"], n_threads_batch=8)}
    own = trial.model_copy(update={"settings": settings})
    assert [flags(result(), each)["threads-batch"] for each in (trial, own)] == ["4", "8"]
    variables = [line for line in render_env(result(), own).splitlines() if "_THREADS" in line]
    assert variables == ["CHAT_THREADS=4", "CHAT_THREADS_BATCH=8", "CODE_THREADS=4"]
    (compose,) = render_compose(result(), own, "/models").values()
    assert '"--threads-batch"\n      - "${CHAT_THREADS_BATCH:-8}"' in compose
    variables = render_llama_server(result(), own, "/models")["chat.server.env"]
    assert "; llama-server --threads-batch 8\n# llama-server has no variable for these arguments." in variables
    with pytest.raises(UsageError, match="it has no setting for n_threads_batch"):
        render_ollama(result(), own, "/models")


def with_chat(**changes: Any) -> TrialInfo:
    trial = result().trial(1)
    settings = trial.settings | {"chat": replace(trial.settings["chat"], **changes)}
    return trial.model_copy(update={"settings": settings})


def texts(trial: TrialInfo) -> dict[str, str]:
    """Return the text of every format but ollama's, which refuses switches."""
    formats = EXPORTERS.keys() - {"ollama"}
    return {name: "".join(EXPORTERS[name](result(), trial, "/models").values()) for name in formats}


def test_a_switch_is_one_argument_of_a_command_and_on_or_off_elsewhere() -> None:
    off = with_chat(kv_offload="off")
    found = texts(off)
    assert {name for name, text in found.items() if "--no-kv-offload" in text} == {
        "llama-server",
        "llama-swap",
        "systemd",
    }
    assert command(result(), off, "chat", "/models").count("--no-kv-offload") == 1
    assert "\nLLAMA_ARG_KV_OFFLOAD=off\n" in found["llama-server"]
    assert '\n      LLAMA_ARG_KV_OFFLOAD: "${CHAT_KV_OFFLOAD:-off}"\n' in found["compose"]
    assert "\nCHAT_KV_OFFLOAD=off\n" in found["env"]
    assert "\nkv-offload = off\n" in found["preset"]


def test_overrides_of_tensors_are_in_every_format_with_their_signs_quoted() -> None:
    overrides = "blk[.](0|1)[.]ffn_up=CPU,ffn_down=CPU"
    named = with_chat(tensor_overrides=tuple(overrides.split(",")))
    found = texts(named)
    assert f"--override-tensor '{overrides}'" in found["llama-server"]
    assert f"\nLLAMA_ARG_OVERRIDE_TENSOR='{overrides}'\n" in found["llama-server"]
    assert f"--override-tensor '{overrides}'" in found["llama-swap"]
    assert f'--override-tensor "{overrides}"' in found["systemd"]
    assert f'"${{CHAT_TENSOR_OVERRIDES:-{overrides}}}"' in found["compose"]
    assert f"\noverride-tensor = {overrides}\n" in found["preset"]
    assert parse_env(found["env"], ".env")["CHAT_TENSOR_OVERRIDES"] == overrides
    with pytest.raises(UsageError, match="it has no setting for tensor_overrides"):
        render_ollama(result(), named, "/models")


def test_a_switch_that_is_off_by_default_is_exported_as_on() -> None:
    found = texts(with_chat(kv_unified="on", n_parallel=2))
    assert "--kv-unified" in found["llama-server"]
    assert "--no-kv-unified" not in "".join(found.values())
    assert "\nCHAT_KV_UNIFIED=on\n" in found["env"]


def test_a_switch_without_a_variable_is_in_every_command() -> None:
    found = texts(with_chat(op_offload="off"))
    assert {name for name, text in found.items() if "--no-op-offload" in text} == {
        "compose",
        "llama-server",
        "llama-swap",
        "systemd",
    }
    assert "; llama-server --no-op-offload\n" in found["llama-server"]
    assert "\nop-offload = off\n" in found["preset"]


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_at_its_default_is_not_exported_and_ollama_has_none(switch: str) -> None:
    option = switch.replace("_", "-")
    assert not any(option in text for name, text in texts(result().trial(1)).items() if name != "json")
    other = {"on": "off", "off": "on"}[DEFAULTS[switch]]
    with pytest.raises(UsageError, match=f"it has no setting for {switch}"):
        render_ollama(result(), with_chat(**{switch: other}), "/models")


def test_every_flag_pins_a_value() -> None:
    for name, engine in recorded().picked("balanced").settings.items():
        found = flags(recorded(), recorded().picked("balanced"), name)
        assert found["n-gpu-layers"] == str(engine.n_gpu_layers)
        assert all(value and value != "-1" for value in found.values())


def test_two_models_are_served_on_ports_8001_and_8004() -> None:
    assert ports(result(host_limits=CONTAINERS)) == {"chat": 8001, "code": 8004}


def test_the_tensor_split_is_exported_as_measured() -> None:
    trial = result().trial(1)
    settings = trial.settings | {"chat": replace(trial.settings["chat"], tensor_split=(25.0, 12.0))}
    changed = trial.model_copy(update={"settings": settings})
    assert flags(result(), changed)["tensor-split"] == "25,12"
    assert "tensor-split" not in flags(result(), changed, "code")
    assert "CHAT_TENSOR_SPLIT=25,12" in render_env(result(), changed).splitlines()
    with pytest.raises(UsageError, match="it has no setting for tensor_split"):
        render_ollama(result(), changed, "/models")


def caches(left_bytes: int, checkpoint_bytes: int | None, n_parallel: int = 1) -> dict[str, str]:
    study = result(host_limits=HostLimitsInfo(n_cpus=None, ram_per_model_bytes=512 * MIB + left_bytes))
    trial = with_host_buffers(0, 0)
    chat = replace(trial.settings["chat"], n_parallel=n_parallel)
    sizes = {} if checkpoint_bytes is None else {"chat": checkpoint_bytes}
    changed = trial.model_copy(update={"settings": trial.settings | {"chat": chat}, "checkpoint_bytes": sizes})
    return {each: value for each, value in flags(study, changed).items() if each in ("cache-ram", "ctx-checkpoints")}


def test_context_checkpoints_and_the_prompt_cache_keep_the_ram_limit_together() -> None:
    assert caches(4 * GIB, 100 * MIB) == {"ctx-checkpoints": "20", "cache-ram": str(4096 - 2000)}
    assert caches(4 * GIB, 100 * MIB, n_parallel=4) == {"ctx-checkpoints": "5", "cache-ram": str(4096 - 2000)}
    assert caches(4 * GIB, MIB) == {"ctx-checkpoints": "32", "cache-ram": str(4096 - 32)}
    assert caches(100 * MIB, 320 * MIB) == {"ctx-checkpoints": "0", "cache-ram": "100"}


@pytest.mark.parametrize("checkpoint_bytes", [None, 0])
def test_models_without_checkpoints_have_no_number_of_them(checkpoint_bytes: int | None) -> None:
    assert caches(4 * GIB, checkpoint_bytes) == {"cache-ram": "4096"}


def test_the_number_of_checkpoints_is_a_variable_of_the_env() -> None:
    trial = result().trial(1).model_copy(update={"checkpoint_bytes": {"chat": MIB}})
    assert "CHAT_CTX_CHECKPOINTS=32" in render_env(result(), trial).splitlines()


@pytest.mark.parametrize(("pooling", "option", "value"), [("mean", "pooling", "mean"), ("rank", "reranking", "on")])
def test_embedding_and_reranking_models_are_served_as_such_without_a_prompt_cache(
    pooling: Any, option: str, value: str
) -> None:
    trial = result().trial(1)
    settings = trial.settings | {"chat": replace(trial.settings["chat"], pooling=pooling)}
    found = flags(result(), trial.model_copy(update={"settings": settings}))
    assert (found["embeddings"], found[option], found["cache-ram"]) == ("on", value, "0")
