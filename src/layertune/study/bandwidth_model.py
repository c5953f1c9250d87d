"""How long a prompt and a generated token take, from the bytes that they read and the speed of the memory.

A pass over the model reads each weight once, and does one multiplication and one addition with each of its numbers for
every token. The two times are added, on each device and over all devices, which work one after the other.

- A generated token is one pass, and reads the filled part of the KV cache too.
- A prompt is one pass for each physical batch (n_ubatch).

What is not in the model: a fixed time for each layer and token, transfers between devices, and other models that run at
the same time. A GPU's arithmetic counts as free, since no quick probe measures it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from layertune.config.model_config import Workload
from layertune.devices.host_rates import HostRates
from layertune.memory import HOST, ModelPlan, device_name
from layertune.memory.weight_bytes import WeightsUsed
from layertune.settings import EngineSettings

# ggml-cuda.cu, ggml_backend_cuda_device_offload_op: with this many tokens, the host's layers are computed on the GPU,
# which copies their weights for each batch.
_OFFLOADED_TOKENS = 32


@dataclass(frozen=True, slots=True)
class DeviceRate:
    """How fast a device reads its memory and computes; `flops_per_s` is None for a GPU, which is not asked."""

    bytes_per_s: float
    flops_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class MachineRates:
    """How fast this machine is.

    Attributes:
        host: The processor, by the number of its threads.
        devices: Each device, in the order of tensor_split; empty without one.
        computes_prompts: Whether the devices compute large batches of the host's layers too, as GPUs do.
    """

    host: HostRates
    devices: tuple[DeviceRate, ...]
    computes_prompts: bool = False


@dataclass(frozen=True, slots=True)
class EngineTime:
    """The expected seconds of the whole prompt and of each generated token."""

    prompt_s: float
    token_s: float

    def tokens_per_s(self, workload: Workload) -> float:
        """Return the rate over the whole workload (DESIGN, decision 7)."""
        return workload.n_counted / (self.prompt_s + workload.n_generate * self.token_s)


class ModelWork(Protocol):
    """What one model reads and computes with; `ModelMemory` knows it."""

    def plan(self, settings: EngineSettings) -> ModelPlan: ...

    def weights_used(self, settings: EngineSettings) -> Mapping[str, WeightsUsed]: ...


def engine_time(work: ModelWork, engine: EngineSettings, workload: Workload, rates: MachineRates) -> EngineTime:
    """Return the expected times of one model alone; `engine` is in its canonical form."""
    plan, used = work.plan(engine), work.weights_used(engine)
    n_prompt, n_batch = workload.n_prompt, min(workload.n_prompt, engine.n_ubatch)
    n_passes = ceil(n_prompt / n_batch)
    filled = min(1.0, (n_prompt + workload.n_generate / 2) / engine.n_ctx)
    prompt_s = token_s = 0.0
    for device, weights in used.items():
        cache_bytes = filled * (plan.devices[device].kv_bytes or 0)
        if not weights.n_bytes + weights.output_bytes + cache_bytes:
            continue
        rate = _rate(rates, device, engine.n_threads)
        prompt_rate = _rate(rates, device, engine.prompt_threads)
        token_s += (weights.n_bytes + weights.output_bytes + cache_bytes) / rate.bytes_per_s
        prompt_s += (n_passes * weights.n_bytes + weights.output_bytes) / prompt_rate.bytes_per_s
        if rate.flops_per_s is None or prompt_rate.flops_per_s is None:
            continue
        token_s += 2 * (weights.n_values + weights.output_values) / rate.flops_per_s
        is_offloaded = rates.computes_prompts and engine.op_offload == "on" and n_batch >= _OFFLOADED_TOKENS
        if device != HOST or not is_offloaded:
            prompt_s += 2 * (n_prompt * weights.n_values + weights.output_values) / prompt_rate.flops_per_s
    return EngineTime(prompt_s, token_s)


def device_share(work: ModelWork, engine: EngineSettings) -> float:
    """Return the share of the weights that a token reads on devices."""
    used = work.weights_used(engine)
    read = {device: weights.n_bytes + weights.output_bytes for device, weights in used.items()}
    return 1 - read[HOST] / sum(read.values())


def _rate(rates: MachineRates, device: str, n_threads: int) -> DeviceRate:
    if device == HOST:
        return DeviceRate(rates.host.reads(n_threads), rates.host.computes(n_threads))
    names = map(device_name, range(len(rates.devices)))
    return dict(zip(names, rates.devices, strict=True))[device]
