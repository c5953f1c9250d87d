"""The planned memory of a setting, before it is loaded: by model, device and use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from layertune.memory.buffers import HOST, LOG_ERROR_BYTES, BufferBytes

# Where a size is from. computed: the GGUF header and llama.cpp's rules. llama.cpp: its log, to 0.01 MiB.
Source = Literal["computed", "llama.cpp"]


@dataclass(frozen=True, slots=True)
class PlannedBytes:
    """One model's bytes on one device. A part is None if neither layertune's rules nor llama.cpp give its size."""

    weights_bytes: int
    kv_bytes: int | None
    compute_bytes: int | None
    output_bytes: int | None = 0

    @property
    def total_bytes(self) -> int | None:
        """The sum, None if a part is unknown."""
        return add((self.weights_bytes, self.kv_bytes, self.compute_bytes, self.output_bytes))

    def buffers(self) -> BufferBytes | None:
        """Return the parts in the form of a measured trial, None if one is unknown."""
        if self.kv_bytes is None or self.compute_bytes is None or self.output_bytes is None:
            return None
        return BufferBytes(self.weights_bytes, self.kv_bytes, self.compute_bytes, self.output_bytes)


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model's memory by device.

    `kv_source` is where the cache's size is from, None if it is unknown. `n_logged` is how many of a device's sizes are
    from llama.cpp's log, which rounds each to 0.01 MiB. `checkpoint_bytes` is what one context checkpoint of
    llama-server takes of the host's memory later; None if it is unknown.
    """

    devices: Mapping[str, PlannedBytes]
    kv_source: Source | None
    flash_attn: bool | None
    n_logged: int = 1
    checkpoint_bytes: int | None = None

    @property
    def on_devices(self) -> tuple[PlannedBytes, ...]:
        """The bytes on each device, without the host."""
        return tuple(held for device, held in self.devices.items() if device != HOST)

    @property
    def log_error_bytes(self) -> int:
        """How much a device's sum may be too small because llama.cpp's log rounds to 0.01 MiB."""
        return self.n_logged * LOG_ERROR_BYTES


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a process takes of a device besides llama.cpp's buffers: the driver's context, kernels, memory pools.

    `n_bytes` is None if it is not known. `source` says in words where the size is from. `is_default` marks a value that
    was not measured on this machine.
    """

    n_bytes: int | None
    source: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """All models of one setting, served by `n_processes`, each of which takes the `overhead` on every device."""

    models: Mapping[str, ModelPlan]
    overhead: Overhead
    n_processes: int

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices' names, without the host."""
        return tuple(dict.fromkeys(name for model in self.models.values() for name in model.devices if name != HOST))

    @property
    def device_bytes(self) -> int | None:
        """The bytes of all models' buffers on all devices, without overhead; None if a part is unknown."""
        return add(self.bytes_on(device) for device in self.devices)

    @property
    def host_bytes(self) -> int | None:
        return self.bytes_on(HOST)

    @property
    def log_error_bytes(self) -> int:
        """How much the sum of one device may be too small."""
        return sum(model.log_error_bytes for model in self.models.values())

    def fits(self, *budgets_bytes: int) -> bool | None:
        """Return whether each device's bytes are within its budget, in the devices' order; None if a part is
        unknown."""
        needed = [self.needed_on(device) for device in self.devices]
        known = [n_bytes for n_bytes in needed if n_bytes is not None]
        if len(known) < len(needed):
            return None
        return all(
            n_bytes + self.log_error_bytes <= budget for n_bytes, budget in zip(known, budgets_bytes, strict=True)
        )

    @property
    def needed_bytes(self) -> int | None:
        """The bytes that all devices together must have: the buffers and, if known, each process's overhead."""
        return add(self.needed_on(device) for device in self.devices)

    def needed_on(self, device: str) -> int | None:
        """Return the bytes that one device must have: the buffers and, if known, each process's overhead."""
        return add((self.bytes_on(device), self.n_processes * (self.overhead.n_bytes or 0)))

    def bytes_on(self, device: str) -> int | None:
        """Return the bytes of all models' buffers on one device or on the host."""
        return add(model.devices[device].total_bytes for model in self.models.values())


def add(parts: Iterable[int | None]) -> int | None:
    """Return the sum, None if a part is None."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
