"""The programs that can serve a model, and their command lines for the measured settings."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from layertune.devices.target import Target
from layertune.errors import DeviceError, UsageError
from layertune.export.flags import Flag, address_flags, device_flags
from layertune.models.ggml_types import TENSOR_TYPE_NUMBERS
from layertune.settings import TENSOR_OVERRIDES
from layertune.verify.client import Dialect
from layertune.verify.stack import ServedModel

HOST = "127.0.0.1"
MADE = Path("build/tools/bin/llama-server")  # make tools
MODULE = "llama_cpp.server"

# Printed by --version as "(build 1, commit 0c1e570)", before 2026 as "version: 5000 (0c1e570a)".
_COMMIT = re.compile(r"(?:commit |\()([0-9a-f]{7,40})\b")
_VERSION_S = 30.0

_RPC_DEVICE = "RPC0"  # ggml-rpc.cpp, ggml_backend_rpc_add_server: a server's first device
_SERVER_NEEDS = ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")
_EXTRA = "pip install 'layertune[server]'"


class Program(Protocol):
    """A kind of server: `words` is its name in messages, `dialect` the interface that the client uses."""

    @property
    def words(self) -> str: ...

    @property
    def dialect(self) -> Dialect: ...

    def command(self, model: ServedModel, alias: str, port: int, device: Sequence[Flag]) -> list[str]:
        """Return the command that serves a model as `alias` on a loopback port, on the device of these flags."""
        ...

    def cannot_take(self, model: ServedModel) -> list[str]:
        """Return a sentence for each measured setting that this program has no option for."""
        ...


@dataclass(frozen=True, slots=True)
class LlamaServer:
    path: Path
    dialect: Dialect = "llama-server"

    @property
    def words(self) -> str:
        return f"llama-server ({self.path.name})" if self.path.name != "llama-server" else "llama-server"

    def command(self, model: ServedModel, alias: str, port: int, device: Sequence[Flag]) -> list[str]:
        flags = [*address_flags(alias, HOST, str(port)), Flag("model", str(model.file)), *model.flags, *device]
        return [str(self.path), *(word for flag in flags for word in flag.words)]

    def cannot_take(self, model: ServedModel) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class LlamaCppServer:
    """`python -m llama_cpp.server` (llama_cpp/server/settings.py): one request at a time, with llama_cpp's context.

    It has no option for a device, so `check_device` allows it only if there is one choice.
    """

    words: str = f"python -m {MODULE}"
    dialect: Dialect = "llama_cpp.server"

    def command(self, model: ServedModel, alias: str, port: int, device: Sequence[Flag]) -> list[str]:
        engine = model.settings
        options = {
            "host": HOST,
            "port": port,
            "model": model.file,
            "model_alias": alias,
            "n_gpu_layers": engine.n_gpu_layers,
            "n_ctx": engine.n_ctx,
            "n_batch": engine.n_batch,
            "n_ubatch": engine.n_ubatch,
            "n_threads": engine.n_threads,
            "n_threads_batch": engine.prompt_threads,
            "flash_attn": _flash_attention(model) == "on",
            "offload_kqv": engine.kv_offload == "on",
            "type_k": TENSOR_TYPE_NUMBERS[engine.type_k.upper()],
            "type_v": TENSOR_TYPE_NUMBERS[engine.type_v.upper()],
            "logits_all": False,
            "interrupt_requests": False,  # otherwise a second request ends the first
        }
        return [sys.executable, "-m", MODULE, *(word for key, value in options.items() for word in _pair(key, value))]

    def cannot_take(self, model: ServedModel) -> list[str]:
        return list(_untaken(model))


def find_program(server: Path | None) -> Program:
    """Return the server to start: the named one, else that of `make tools`, of the PATH, or llama_cpp.server.

    Raises:
        UsageError: the named one cannot be run, or none is installed.
    """
    if server is not None:
        found = shutil.which(server)
        if found is None:
            raise UsageError(f"--server {server} cannot be run", remedy="give llama-server's path")
        return LlamaServer(Path(found).absolute())
    for candidate in (str(MADE.absolute()), "llama-server"):
        if (found := shutil.which(candidate)) is not None:
            return LlamaServer(Path(found))
    if all(find_spec(name) is not None for name in (*_SERVER_NEEDS, "llama_cpp")):
        return LlamaCppServer()
    raise UsageError(
        "found no llama-server in build/tools/bin or on the PATH, and llama_cpp.server lacks its packages",
        remedy=f"build it with make tools, give --server PATH, or install llama_cpp.server with: {_EXTRA}",
    )


def other_build(program: Program, measured_commit: str) -> str | None:
    """Return a sentence if a server is of another llama.cpp than the measured one; None if not, or if it is not known.

    Args:
        program: The server, which is asked for its version.
        measured_commit: The commit of the measured llama.cpp.
    """
    if not isinstance(program, LlamaServer):
        return None
    try:
        command = [str(program.path), "--version"]
        answer = subprocess.run(command, capture_output=True, timeout=_VERSION_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    found = _COMMIT.search((answer.stderr + answer.stdout).decode(errors="replace"))
    commit, measured = found[1] if found else "", measured_commit.partition("-")[0]
    if not commit or not measured or commit.startswith(measured) or measured.startswith(commit):
        return None
    return (
        f"{program.words} is of llama.cpp {commit}, and the study measured {measured}: it may not know an exported "
        "option, and its memory and speeds may differ"
    )


def check_device(program: Program, target: Target, n_gpus: int) -> None:
    """Raises DeviceError if this program cannot be limited to the study's device; llama.cpp sees `n_gpus` GPUs here."""
    if program.dialect != "llama_cpp.server":
        return
    remedy = "build llama-server with make tools, or give --server"
    if target.kind == "emulated":
        # It hands rpc_servers to Llama, which has no such parameter (llama_cpp/llama.py, 0.3.36).
        raise DeviceError(f"{program.words} cannot use an emulated card", remedy=remedy)
    if target.kind == "gpu" and n_gpus > 1:
        raise DeviceError(f"{program.words} would use all {n_gpus} GPUs, not only {target.name}", remedy=remedy)
    if target.kind == "cpu" and n_gpus > 0:
        raise DeviceError(f"{program.words} cannot be limited to the CPU: it would use the GPU", remedy=remedy)


def flags_of_device(target: Target, gpu: str | None, rpc_endpoint: str | None) -> list[Flag]:
    """Return the flags that limit llama-server to the study's device; `gpu` is its name in llama.cpp, like CUDA0.

    A CPU needs none: the exported flags name it already.
    """
    if rpc_endpoint is not None:
        return device_flags(_RPC_DEVICE, rpc_endpoint)
    return device_flags(gpu) if target.kind == "gpu" and gpu is not None else []


def _untaken(model: ServedModel) -> Iterator[str]:
    settings = model.settings
    yield "one output per slot (n_outputs_max) and swa_full = false: its compute buffers and caches may be larger"
    yield "--cache-ram, --load-mode and --fit"
    if settings.n_parallel > 1:
        yield f"--parallel {settings.n_parallel}: it answers one request at a time"
    if settings.n_cpu_moe:
        yield f"--n-cpu-moe {settings.n_cpu_moe}: its experts go where the layers go"
    if settings.n_cpu_ffn:
        yield f"--n-cpu-ffn {settings.n_cpu_ffn}: its feed-forward tensors go where the layers go"
    if settings.tensor_overrides:
        yield f"--override-tensor {settings.written(TENSOR_OVERRIDES)}: these tensors go where the layers go"
    if settings.op_offload == "off":
        yield "--no-op-offload: large batches of the host's layers run on the device"
    if _flash_attention(model) == "auto":
        yield "flash attention chosen by llama.cpp: it is off"


def _flash_attention(model: ServedModel) -> str:
    """Return the exported value: what "auto" became in the measurement."""
    return next(flag.value for flag in model.flags if flag.option == "flash-attn")


def _pair(key: str, value: object) -> tuple[str, str]:
    return f"--{key}", str(value).lower() if isinstance(value, bool) else str(value)
