"""What the flags say beside a trial's own numbers: flash attention, the prompt cache, experts."""

from dataclasses import replace
from typing import Any

import pytest

from deployments import CONTAINERS, recorded
from finished_study import result
from layertune.errors import UsageError
from layertune.export.env import render_env
from layertune.export.flags import ports, server_flags
from layertune.export.ollama import render_ollama
from layertune.results.result import HostLimitsInfo, Result
from layertune.results.trial_info import BufferInfo, TrialInfo
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
