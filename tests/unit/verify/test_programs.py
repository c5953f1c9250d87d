import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployments import demo
from layertune.devices.target import Target
from layertune.errors import DeviceError, UsageError
from layertune.export import EXPORTERS
from layertune.export.flags import device_flags
from layertune.verify.programs import (
    LlamaCppServer,
    LlamaServer,
    check_device,
    find_program,
    flags_of_device,
    other_build,
)
from layertune.verify.stack import ServedModel, stack_of
from readers import SHELL, shell_words

CARD = Target("emulated", "emulated card", vram_bytes=1, n_threads=1)


@pytest.mark.skipif(SHELL is None, reason="no POSIX shell here")
def test_the_started_command_is_the_exported_one_except_for_address_and_device() -> None:
    made = demo()
    model = stack_of(made, made.trial(0), dict.fromkeys(made.models, Path("/models")), {}).models["code"]
    words = LlamaServer(Path("/bin/llama-server")).command(model, "code-1", 4000, device_flags("RPC0", "127.0.0.1:5"))
    exported = shell_words(EXPORTERS["llama-server"](made, made.trial(0), "/models")["code.sh"])
    assert words[:7] == ["/bin/llama-server", "--host", "127.0.0.1", "--port", "4000", "--alias", "code-1"]
    assert words[7:-4] == exported[6:]
    assert words[-4:] == ["--rpc", "127.0.0.1:5", "--device", "RPC0"]


def test_a_server_is_limited_to_the_studys_device() -> None:
    assert [flag.value for flag in flags_of_device(CARD, None, "127.0.0.1:5")] == ["127.0.0.1:5", "RPC0"]
    gpu = Target("gpu", "RTX", vram_bytes=1, gpu_index=1)
    assert [flag.value for flag in flags_of_device(gpu, "CUDA1", None)] == ["CUDA1"]
    assert flags_of_device(Target("cpu", "CPU"), None, None) == []


def test_the_named_server_is_the_one_that_is_started() -> None:
    assert find_program(Path(sys.executable)) == LlamaServer(Path(sys.executable))


def test_a_server_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be run"):
        find_program(tmp_path / "llama-server")


def code(became: bool | None = None, **changes: Any) -> ServedModel:
    """Return the demo's code model with other settings; `became` is what "auto" was measured as."""
    made = demo()
    trial = made.trial(0)
    settings = {name: replace(engine, **changes) for name, engine in trial.settings.items()}
    flash_attn = {} if became is None else dict.fromkeys(settings, became)
    trial = trial.model_copy(update={"settings": settings, "flash_attn": flash_attn})
    return stack_of(made, trial, dict.fromkeys(made.models, Path("/models")), {}).models["code"]


def options(model: ServedModel) -> dict[str, str]:
    words = LlamaCppServer().command(model, "code-1", 4000, [])
    return dict(zip(words[3::2], words[4::2], strict=True))


def test_llama_cpp_server_lists_the_settings_that_it_has_no_option_for() -> None:
    program = LlamaCppServer()
    assert len(program.cannot_take(code(flash_attn="on"))) == 2
    more = code(n_parallel=2, n_cpu_moe=1, n_cpu_ffn=1, flash_attn="auto", op_offload="off")
    assert any("--parallel 2" in sentence for sentence in program.cannot_take(more))
    assert len(program.cannot_take(more)) == 7
    assert LlamaServer(Path("llama-server")).cannot_take(more) == []


@pytest.mark.parametrize(
    ("target", "n_gpus", "words"),
    [
        (CARD, 0, "cannot use an emulated card"),
        (Target("gpu", "RTX", vram_bytes=1, gpu_index=1), 2, "would use all 2 GPUs, not only RTX"),
        (Target("cpu", "CPU"), 1, "cannot be limited to the CPU"),
    ],
)
def test_llama_cpp_server_is_refused_where_it_would_use_another_device(target: Target, n_gpus: int, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        check_device(LlamaCppServer(), target, n_gpus)
    check_device(LlamaServer(Path("llama-server")), target, n_gpus)


def test_llama_cpp_server_is_started_where_there_is_one_choice() -> None:
    check_device(LlamaCppServer(), Target("cpu", "CPU"), 0)
    check_device(LlamaCppServer(), Target("gpu", "RTX", vram_bytes=1, gpu_index=0), 1)


def test_llama_cpp_server_gets_every_setting_that_it_has_an_option_for() -> None:
    found = options(code(n_ubatch=512))
    assert found["--n_ubatch"] == "512"
    assert found["--type_k"] == "1"
    assert found["--interrupt_requests"] == "false"


def test_llama_cpp_server_has_the_flash_attention_that_was_measured() -> None:
    assert options(code(became=True, flash_attn="auto"))["--flash_attn"] == "true"
    assert options(code(became=False, flash_attn="auto"))["--flash_attn"] == "false"
    assert len(LlamaCppServer().cannot_take(code(became=True, flash_attn="auto"))) == 2


@pytest.mark.skipif(SHELL is None, reason="no POSIX shell here")
@pytest.mark.parametrize(
    ("printed", "measured", "is_other"),
    [
        ("version: 0.5.0-dev (build 1, commit 0c1e570)", "0c1e570-dirty", False),
        ("version: 0.5.0-dev (build 1, commit 0c1e570a1)", "0c1e570", False),
        ("version: 5000 (fe92821e)", "0c1e570", True),
        ("built with GNU 12.2.0 (Debian 12.2.0) for x86_64", "0c1e570", False),
    ],
)
def test_a_server_of_another_llama_cpp_is_named_before_it_starts(
    printed: str, measured: str, is_other: bool, tmp_path: Path
) -> None:
    server = tmp_path / "llama-server"
    server.write_text(f"#!/bin/sh\necho '{printed}' >&2\n")
    server.chmod(0o755)
    words = other_build(LlamaServer(server), measured)
    assert (words is not None) == is_other
    if words is not None:
        assert words.startswith("llama-server is of llama.cpp fe92821e, and the study measured 0c1e570")


def test_a_server_that_tells_no_version_is_not_compared(tmp_path: Path) -> None:
    assert other_build(LlamaServer(tmp_path / "nothing"), "0c1e570") is None
    assert other_build(LlamaCppServer(), "0c1e570") is None
