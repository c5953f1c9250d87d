"""A setting's memory before it is loaded: per model and device, by what it is for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from layertune.memory.buffers import HOST, LOG_ERROR_BYTES, BufferBytes

# computed: from the GGUF header and llama.cpp's rules. llama.cpp: its own figure, from its log, to 0.01 MiB.
Source = Literal["computed", "llama.cpp"]


@dataclass(frozen=True, slots=True)
class PlannedBytes:
    """One model's bytes on one device; None where neither our rules nor llama.cpp could tell."""

    weights_bytes: int
    kv_bytes: int | None
    compute_bytes: int | None
    output_bytes: int | None = 0

    @property
    def total_bytes(self) -> int | None:
        """The sum, None if a part is missing."""
        return add((self.weights_bytes, self.kv_bytes, self.compute_bytes, self.output_bytes))

    def buffers(self) -> BufferBytes | None:
        """Return the same split as a measured trial reports it, None if a part is missing."""
        if self.kv_bytes is None or self.compute_bytes is None or self.output_bytes is None:
            return None
        return BufferBytes(self.weights_bytes, self.kv_bytes, self.compute_bytes, self.output_bytes)


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model's memory. `kv_source` says whose word its cache is, None where nobody's; `n_logged` is how many of a
    device's figures are llama.cpp's."""

    devices: Mapping[str, PlannedBytes]
    kv_source: Source | None
    flash_attn: bool | None
    n_logged: int = 1

    @property
    def on_devices(self) -> tuple[PlannedBytes, ...]:
        """What each device holds, the host left out."""
        return tuple(held for device, held in self.devices.items() if device != HOST)

    @property
    def log_error_bytes(self) -> int:
        """By how much a device's sum may be too small: llama.cpp logs each figure to 0.01 MiB."""
        return self.n_logged * LOG_ERROR_BYTES


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a process takes of the device beside llama.cpp's buffers: its driver's context, kernels, pools.

    `n_bytes` is None where nobody has measured it; `source` says where the figure is from.
    """

    n_bytes: int | None
    source: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """All models of one setting, served by `n_processes`, each of which takes every device's `overhead`."""

    models: Mapping[str, ModelPlan]
    overhead: Overhead
    n_processes: int

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices' names, without the host."""
        return tuple(dict.fromkeys(name for model in self.models.values() for name in model.devices if name != HOST))

    @property
    def device_bytes(self) -> int | None:
        """What all models' buffers take of all devices, without their overhead; None if a part is missing."""
        return add(self.bytes_on(device) for device in self.devices)

    @property
    def host_bytes(self) -> int | None:
        return self.bytes_on(HOST)

    @property
    def log_error_bytes(self) -> int:
        """By how much the sum of one device may be too small."""
        return sum(model.log_error_bytes for model in self.models.values())

    def fits(self, *budgets_bytes: int) -> bool | None:
        """Return the verdict over the devices' budgets, in their order; None where a part is unknown."""
        needed = [self.needed_on(device) for device in self.devices]
        known = [n_bytes for n_bytes in needed if n_bytes is not None]
        if len(known) < len(needed):
            return None
        return all(
            n_bytes + self.log_error_bytes <= budget for n_bytes, budget in zip(known, budgets_bytes, strict=True)
        )

    @property
    def needed_bytes(self) -> int | None:
        """What all devices together must have: the buffers, and every process's overhead where that is known."""
        return add(self.needed_on(device) for device in self.devices)

    def needed_on(self, device: str) -> int | None:
        """Return what one device must have, its overhead included where that is known."""
        return add((self.bytes_on(device), self.n_processes * (self.overhead.n_bytes or 0)))

    def bytes_on(self, device: str) -> int | None:
        """Return what all models' buffers take of one device, or of the host."""
        return add(model.devices[device].total_bytes for model in self.models.values())


def add(parts: Iterable[int | None]) -> int | None:
    """Return the sum, None if a part is None: an unknown part makes the whole unknown."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
