"""A model's settings as flags of llama-server: the one place that turns one into the other.

Names are those of the llama.cpp that was measured (common/arg.cpp). Everything that a trial ran with is given, also
what is llama-server's default: it fits what is left out to the device by itself. `--parallel` given keeps the KV cache
of each slot apart (tools/server/server.cpp), as measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.export.prompt_cache import cache_ram_mib
from layertune.results.result import Result, TrialInfo

# The settings in a `.env`: the end of each variable's name, after the model's, and the setting.
ENV_SETTINGS: Mapping[str, str] = {
    "N_GPU_LAYERS": "n_gpu_layers",
    "N_CTX": "n_ctx",
    "N_BATCH": "n_batch",
    "N_UBATCH": "n_ubatch",
    "THREADS": "n_threads",
    "PARALLEL": "n_parallel",
    "FLASH_ATTN": "flash_attn",
    "TYPE_K": "type_k",
    "TYPE_V": "type_v",
    "N_CPU_MOE": "n_cpu_moe",
}


@dataclass(frozen=True, slots=True)
class Flag:
    """`variable` is its name in llama-server's environment, `key` the end of its name in `.env`; None: it has none."""

    option: str
    value: str
    variable: str | None = None
    key: str | None = None


def server_flags(result: Result, trial: TrialInfo, name: str) -> list[Flag]:
    """Return what a trial pins for one model, without its file."""
    engine = trial.settings[name]
    n_threads = str(engine.n_threads)
    flags = [
        Flag("fit", "off", "LLAMA_ARG_FIT"),
        Flag("n-gpu-layers", str(engine.n_gpu_layers), "LLAMA_ARG_N_GPU_LAYERS", "N_GPU_LAYERS"),
        Flag("ctx-size", str(engine.n_ctx), "LLAMA_ARG_CTX_SIZE", "N_CTX"),
        Flag("batch-size", str(engine.n_batch), "LLAMA_ARG_BATCH", "N_BATCH"),
        Flag("ubatch-size", str(engine.n_ubatch), "LLAMA_ARG_UBATCH", "N_UBATCH"),
        Flag("threads", n_threads, "LLAMA_ARG_THREADS", "THREADS"),
        Flag("threads-batch", n_threads, None, "THREADS"),
        Flag("parallel", str(engine.n_parallel), "LLAMA_ARG_N_PARALLEL", "PARALLEL"),
        Flag("flash-attn", flash_attention(trial, name), "LLAMA_ARG_FLASH_ATTN", "FLASH_ATTN"),
        Flag("cache-type-k", engine.type_k, "LLAMA_ARG_CACHE_TYPE_K", "TYPE_K"),
        Flag("cache-type-v", engine.type_v, "LLAMA_ARG_CACHE_TYPE_V", "TYPE_V"),
        Flag("cache-ram", str(cache_ram_mib(result, trial, name)), "LLAMA_ARG_CACHE_RAM", "CACHE_RAM"),
        # "auto" is what was measured: mapped, unless a device cannot (llama-model.cpp, load_tensors).
        Flag("load-mode", "auto", "LLAMA_ARG_LOAD_MODE"),
    ]
    if engine.n_cpu_moe:
        flags.append(Flag("n-cpu-moe", str(engine.n_cpu_moe), "LLAMA_ARG_N_CPU_MOE", "N_CPU_MOE"))
    if engine.tensor_split:
        split = str(engine.written("tensor_split"))
        flags.append(Flag("tensor-split", split, "LLAMA_ARG_TENSOR_SPLIT", "TENSOR_SPLIT"))
    if result.hardware.device.kind == "cpu":
        # Also with no layer on it, a GPU would be given the large batches (llama.cpp's op_offload).
        flags.append(Flag("device", "none", "LLAMA_ARG_DEVICE"))
    return flags


def address_flags(name: str, host: str, port: str) -> list[Flag]:
    """Return where a model is served, and as what."""
    return [
        Flag("host", host, "LLAMA_ARG_HOST"),
        Flag("port", port, "LLAMA_ARG_PORT"),
        Flag("alias", name, "LLAMA_ARG_ALIAS"),
    ]


def device_flags(device: str, rpc_endpoint: str | None = None) -> list[Flag]:
    """Return what keeps a server to one device by its name in llama.cpp; `rpc_endpoint` is where an RPC server offers
    it. An export does not say it: the device's name is its machine's."""
    rpc = [] if rpc_endpoint is None else [Flag("rpc", rpc_endpoint, "LLAMA_ARG_RPC")]
    return [*rpc, Flag("device", device, "LLAMA_ARG_DEVICE")]


def ports(result: Result) -> dict[str, int]:
    """Return each model's port: 8001, 8004 and so on, where the worksheet asks its two models."""
    return {name: 8001 + 3 * index for index, name in enumerate(result.models)}


def flash_attention(trial: TrialInfo, name: str) -> str:
    """Return what "auto" became; it stays where the result does not say, and llama.cpp chooses again."""
    asked = trial.settings[name].flash_attn
    became = trial.flash_attn.get(name)
    return asked if asked != "auto" or became is None else "on" if became else "off"
