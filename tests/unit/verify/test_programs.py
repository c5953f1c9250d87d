import sys
from pathlib import Path

import pytest

from deployments import demo
from layertune.devices.target import Target
from layertune.errors import DeviceError, UsageError
from layertune.export import EXPORTERS
from layertune.export.flags import device_flags
from layertune.settings import EngineSettings
from layertune.verify.programs import LlamaCppServer, LlamaServer, check_device, find_program, flags_of_device
from layertune.verify.stack import stack_of
from readers import SHELL, shell_words

CARD = Target("emulated", "emulated card", vram_bytes=1, n_threads=1)
ENGINE = EngineSettings(n_gpu_layers=1, n_ctx=512, n_batch=256, n_ubatch=256, n_threads=1, flash_attn="on")


@pytest.mark.skipif(SHELL is None, reason="no POSIX shell here")
def test_what_is_started_is_what_is_exported_but_for_its_address_and_device() -> None:
    made = demo()
    model = stack_of(made, made.trial(0), dict.fromkeys(made.models, Path("/models")), {}).models["code"]
    words = LlamaServer(Path("/bin/llama-server")).command(model, "code-1", 4000, device_flags("RPC0", "127.0.0.1:5"))
    exported = shell_words(EXPORTERS["llama-server"](made, made.trial(0), "/models")["code.sh"])
    assert words[:7] == ["/bin/llama-server", "--host", "127.0.0.1", "--port", "4000", "--alias", "code-1"]
    assert words[7:-4] == exported[6:]
    assert words[-4:] == ["--rpc", "127.0.0.1:5", "--device", "RPC0"]


def test_a_server_is_kept_to_the_studys_device() -> None:
    assert [flag.value for flag in flags_of_device(CARD, None, "127.0.0.1:5")] == ["127.0.0.1:5", "RPC0"]
    gpu = Target("gpu", "RTX", vram_bytes=1, gpu_index=1)
    assert [flag.value for flag in flags_of_device(gpu, "CUDA1", None)] == ["CUDA1"]
    assert flags_of_device(Target("cpu", "CPU"), None, None) == []


def test_the_server_that_is_named_is_the_one_that_is_started() -> None:
    assert find_program(Path(sys.executable)) == LlamaServer(Path(sys.executable))


def test_a_server_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no program that can be run"):
        find_program(tmp_path / "llama-server")


def test_llama_cpp_server_says_what_it_cannot_take_and_where_it_cannot_go() -> None:
    program = LlamaCppServer()
    assert len(program.cannot_take(ENGINE)) == 2
    more = EngineSettings(**{**ENGINE.as_dict(), "n_parallel": 2, "n_cpu_moe": 1, "flash_attn": "auto"})
    assert any("--parallel 2" in sentence for sentence in program.cannot_take(more))
    assert len(program.cannot_take(more)) == 5
    assert LlamaServer(Path("llama-server")).cannot_take(more) == []
    with pytest.raises(DeviceError, match="reaches no emulated card"):
        check_device(program, CARD)
    check_device(program, Target("cpu", "CPU"))


def test_llama_cpp_server_is_told_all_that_it_has_an_option_for() -> None:
    made = demo()
    model = stack_of(made, made.trial(0), dict.fromkeys(made.models, Path("/models")), {}).models["code"]
    words = LlamaCppServer().command(model, "code-1", 4000, [])
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options["--n_ubatch"] == "512"
    assert options["--type_k"] == "1"
    assert options["--interrupt_requests"] == "false"
