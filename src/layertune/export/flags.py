"""A model's settings as flags of llama-server. No other file translates settings to flags.

The names are those of the measured llama.cpp (common/arg.cpp). Every setting of a trial is given, even llama-server's
defaults, because llama-server changes settings that are not given to fit the device. With `--parallel` given, each slot
has its own KV cache (tools/server/server.cpp), as in the measurement.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.memory.buffers import HOST, BufferBytes, resident_bytes
from layertune.results.result import Result, TrialInfo
from layertune.settings import TENSOR_OVERRIDES, EngineSettings
from layertune.units import MIB

# The settings in a `.env`, by the suffix of the variable's name. The model's name comes before it.
ENV_SETTINGS: Mapping[str, str] = {
    "N_GPU_LAYERS": "n_gpu_layers",
    "N_CTX": "n_ctx",
    "N_BATCH": "n_batch",
    "N_UBATCH": "n_ubatch",
    "THREADS": "n_threads",
    "THREADS_BATCH": "n_threads_batch",
    "PARALLEL": "n_parallel",
    "FLASH_ATTN": "flash_attn",
    "TYPE_K": "type_k",
    "TYPE_V": "type_v",
    "N_CPU_MOE": "n_cpu_moe",
    "N_CPU_FFN": "n_cpu_ffn",
    "KV_OFFLOAD": "kv_offload",
    "KV_UNIFIED": "kv_unified",
    "POOLING": "pooling",
    "TENSOR_OVERRIDES": TENSOR_OVERRIDES,
}

# llama-server's own defaults (common/common.h: cache_ram_mib, n_ctx_checkpoints).
_MOST_MIB = 8192
_MOST_CHECKPOINTS = 32

# RAM that a server takes in addition to llama.cpp's buffers: code, tokenizer, requests, a GPU driver's pages. This is
# an estimate: on a CPU llama-server took 36 and 66 MiB with the demo's models. It has not been measured on a GPU.
_SERVER_BYTES = 512 * MIB


@dataclass(frozen=True, slots=True)
class Flag:
    """An option of llama-server and its value.

    `variable` is its environment variable, `key` the suffix of its variable in a `.env`; None if there is none. The
    value of a switch is "on" or "off"; on a command line it is `--option` or `--no-option`.
    """

    option: str
    value: str
    variable: str | None = None
    key: str | None = None
    is_switch: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The flag as arguments of a command."""
        if self.is_switch:
            return (f"--{self.option}" if self.value == "on" else f"--no-{self.option}",)
        return f"--{self.option}", self.value


@dataclass(frozen=True, slots=True)
class HostCaches:
    """What llama-server takes of the host's memory while it serves.

    Attributes:
        prompts_mib: The size of the prompt cache (`--cache-ram`); 0 means no cache.
        n_checkpoints: How many context checkpoints each slot may keep (`--ctx-checkpoints`); None for a model that has
            none, and if their size is not known.
    """

    prompts_mib: int
    n_checkpoints: int | None = None

    @classmethod
    def of(
        cls, limit_bytes: int, resident_bytes: int, engine: EngineSettings, checkpoint_bytes: int | None
    ) -> "HostCaches":
        """Return caches that keep a server's RAM limit: checkpoints get half of what is left at most.

        Args:
            limit_bytes: the RAM limit of the server.
            resident_bytes: the RAM that it already takes.
            engine: its settings.
            checkpoint_bytes: the size of one checkpoint; None if it is not known.
        """
        if engine.pooling:  # nothing of an earlier prompt is reused (tools/server, is_stateless_task)
            return cls(0)
        left_bytes = max(0, limit_bytes - resident_bytes - _SERVER_BYTES)
        if not checkpoint_bytes:
            return cls(min(_MOST_MIB, left_bytes // MIB))
        of_slots_bytes = checkpoint_bytes * engine.n_parallel
        n_checkpoints = min(_MOST_CHECKPOINTS, left_bytes // 2 // of_slots_bytes)
        return cls(min(_MOST_MIB, (left_bytes - n_checkpoints * of_slots_bytes) // MIB), n_checkpoints)


def server_flags(result: Result, trial: TrialInfo, name: str) -> list[Flag]:
    """Return the flags for one model of a trial, without its file and address."""
    flags = engine_flags(
        trial.settings[name],
        flash_attention(trial, name),
        host_caches(result, trial, name),
        on_cpu=result.hardware.device.kind == "cpu",
    )
    return flags + _gpu_flags(result)


def _gpu_flags(result: Result) -> list[Flag]:
    """Return the flags that keep a server on the GPUs that were measured: a machine may have others."""
    if result.hardware.device.kind != "gpu":
        return []
    gpus = [gpu.device for gpu in result.hardware.device.gpus or ()]
    flags = device_flags(",".join(gpus)) if gpus else []
    if result.budget.devices is None:
        flags.append(Flag("split-mode", "none", "LLAMA_ARG_SPLIT_MODE"))
    return flags


def engine_flags(engine: EngineSettings, flash_attn: str, caches: HostCaches, *, on_cpu: bool) -> list[Flag]:
    """Return the flags for one model.

    Args:
        engine: its settings.
        flash_attn: The setting. "auto" is replaced by its result if that is known.
        caches: what the server may take of the host's memory later.
        on_cpu: whether the trial offloads to no device.
    """
    flags = [
        Flag("fit", "off", "LLAMA_ARG_FIT"),
        Flag("n-gpu-layers", str(engine.n_gpu_layers), "LLAMA_ARG_N_GPU_LAYERS", "N_GPU_LAYERS"),
        Flag("ctx-size", str(engine.n_ctx), "LLAMA_ARG_CTX_SIZE", "N_CTX"),
        Flag("batch-size", str(engine.n_batch), "LLAMA_ARG_BATCH", "N_BATCH"),
        Flag("ubatch-size", str(engine.n_ubatch), "LLAMA_ARG_UBATCH", "N_UBATCH"),
        Flag("threads", str(engine.n_threads), "LLAMA_ARG_THREADS", "THREADS"),
        Flag("threads-batch", str(engine.prompt_threads), None, _threads_key(engine)),
        Flag("parallel", str(engine.n_parallel), "LLAMA_ARG_N_PARALLEL", "PARALLEL"),
        Flag("flash-attn", flash_attn, "LLAMA_ARG_FLASH_ATTN", "FLASH_ATTN"),
        Flag("cache-type-k", engine.type_k, "LLAMA_ARG_CACHE_TYPE_K", "TYPE_K"),
        Flag("cache-type-v", engine.type_v, "LLAMA_ARG_CACHE_TYPE_V", "TYPE_V"),
        Flag("cache-ram", str(caches.prompts_mib), "LLAMA_ARG_CACHE_RAM", "CACHE_RAM"),
        # Measured with "auto": the file is mapped unless a device cannot do that (llama-model.cpp, load_tensors).
        Flag("load-mode", "auto", "LLAMA_ARG_LOAD_MODE"),
    ]
    if caches.n_checkpoints is not None:
        n_checkpoints = str(caches.n_checkpoints)
        flags.append(Flag("ctx-checkpoints", n_checkpoints, "LLAMA_ARG_CTX_CHECKPOINTS", "CTX_CHECKPOINTS"))
    if engine.n_cpu_moe:
        flags.append(Flag("n-cpu-moe", str(engine.n_cpu_moe), "LLAMA_ARG_N_CPU_MOE", "N_CPU_MOE"))
    if engine.n_cpu_ffn:
        flags.append(Flag("n-cpu-ffn", str(engine.n_cpu_ffn), "LLAMA_ARG_N_CPU_FFN", "N_CPU_FFN"))
    if engine.tensor_overrides:
        overrides = str(engine.written(TENSOR_OVERRIDES))
        flags.append(Flag("override-tensor", overrides, "LLAMA_ARG_OVERRIDE_TENSOR", "TENSOR_OVERRIDES"))
    if engine.kv_offload == "off":
        flags.append(Flag("kv-offload", "off", "LLAMA_ARG_KV_OFFLOAD", "KV_OFFLOAD", is_switch=True))
    if engine.kv_unified == "on":
        flags.append(Flag("kv-unified", "on", "LLAMA_ARG_KV_UNIFIED", "KV_UNIFIED", is_switch=True))
    if engine.op_offload == "off":
        flags.append(Flag("op-offload", "off", is_switch=True))
    if engine.pooling:
        flags.append(Flag("embeddings", "on", "LLAMA_ARG_EMBEDDINGS", is_switch=True))
    if engine.pooling == "rank":
        flags.append(Flag("reranking", "on", "LLAMA_ARG_RERANKING", is_switch=True))
    elif engine.pooling:
        flags.append(Flag("pooling", engine.pooling, "LLAMA_ARG_POOLING", "POOLING"))
    if engine.tensor_split:
        split = str(engine.written("tensor_split"))
        flags.append(Flag("tensor-split", split, "LLAMA_ARG_TENSOR_SPLIT", "TENSOR_SPLIT"))
    if on_cpu:
        # Without this, large batches would run on a GPU even with no layer there (llama.cpp's op_offload).
        flags.append(Flag("device", "none", "LLAMA_ARG_DEVICE"))
    return flags


def _threads_key(engine: EngineSettings) -> str:
    """Return the variable of --threads-batch: the one of --threads, unless the settings have two numbers."""
    return "THREADS" if engine.n_threads_batch is None else "THREADS_BATCH"


def address_flags(name: str, host: str, port: str) -> list[Flag]:
    """Return the flags for the address and the name of a model's server."""
    return [
        Flag("host", host, "LLAMA_ARG_HOST"),
        Flag("port", port, "LLAMA_ARG_PORT"),
        Flag("alias", name, "LLAMA_ARG_ALIAS"),
    ]


def device_flags(device: str, rpc_endpoint: str | None = None) -> list[Flag]:
    """Return the flags that limit a server to one device, by its name in llama.cpp, or to several joined by commas.

    `rpc_endpoint` is the address of an RPC server that offers the device.
    """
    rpc = [] if rpc_endpoint is None else [Flag("rpc", rpc_endpoint, "LLAMA_ARG_RPC")]
    return [*rpc, Flag("device", device, "LLAMA_ARG_DEVICE")]


def ports(result: Result) -> dict[str, int]:
    """Return each model's port: 8001, 8004 and so on, as in the case study."""
    return {name: 8001 + 3 * index for index, name in enumerate(result.models)}


def flash_attention(trial: TrialInfo, name: str) -> str:
    """Return the setting, with "auto" replaced by its result; "auto" if the result was not recorded."""
    asked = trial.settings[name].flash_attn
    became = trial.flash_attn.get(name)
    return asked if asked != "auto" or became is None else "on" if became else "off"


def host_caches(result: Result, trial: TrialInfo, name: str) -> HostCaches:
    """Return the caches of a model's server, which share the rest of its RAM limit after its buffers.

    They are at most llama-server's defaults. Without a limit, each model gets an equal share of the machine's RAM.
    """
    limits = result.host_limits
    limit_bytes = limits.ram_per_model_bytes if limits is not None else None
    if limit_bytes is None:
        limit_bytes = result.hardware.ram_bytes // len(result.models)
    resident = _resident_bytes(result, trial, name)
    return HostCaches.of(limit_bytes, resident, trial.settings[name], trial.checkpoint_bytes.get(name))


def _resident_bytes(result: Result, trial: TrialInfo, name: str) -> int:
    """Return the model's memory on the host. Without recorded buffers, return the size of its file."""
    file_bytes = result.models[name].file_bytes
    if trial.buffers is None or name not in trial.buffers:
        return file_bytes
    on_host = trial.buffers[name].get(HOST)
    return 0 if on_host is None else resident_bytes(BufferBytes(**on_host.model_dump()), file_bytes)
