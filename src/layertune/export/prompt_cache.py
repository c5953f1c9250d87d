"""How much RAM llama-server may keep old prompts in (`--cache-ram`): what a model's limit leaves."""

from layertune.memory.buffers import HOST, BufferBytes, resident_bytes
from layertune.results.result import Result, TrialInfo
from layertune.units import MIB

_MOST_MIB = 8192  # llama-server's own default (common/common.h, cache_ram_mib)

# A server's RAM beside llama.cpp's buffers: code, tokenizer, requests, a GPU driver's pages. An estimate: on a CPU
# llama-server was seen to take 36 and 66 MiB with the demo's models; on a GPU nobody has measured it yet.
_SERVER_BYTES = 512 * MIB


def cache_ram_mib(result: Result, trial: TrialInfo, name: str) -> int:
    """Return what is left of the model's RAM limit beside its own buffers, at most llama-server's default; 0 is none.

    Without a limit, each model counts on an equal share of the machine's RAM.
    """
    limits = result.host_limits
    limit_bytes = limits.ram_per_model_bytes if limits is not None else None
    if limit_bytes is None:
        limit_bytes = result.hardware.ram_bytes // len(result.models)
    left_bytes = limit_bytes - _resident_bytes(result, trial, name) - _SERVER_BYTES
    return max(0, min(_MOST_MIB, left_bytes // MIB))


def _resident_bytes(result: Result, trial: TrialInfo, name: str) -> int:
    """A trial of before buffers were recorded counts as its whole file."""
    file_bytes = result.models[name].file_bytes
    if trial.buffers is None or name not in trial.buffers:
        return file_bytes
    on_host = trial.buffers[name].get(HOST)
    return 0 if on_host is None else resident_bytes(BufferBytes(**on_host.model_dump()), file_bytes)
