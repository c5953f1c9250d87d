"""The device of a study: what the config chose, resolved against this machine. Plain data; a worker opens it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from layertune.config.device import DeviceChoice
from layertune.devices.host import has_nvidia_card
from layertune.devices.inspection import GpuInfo, inspect
from layertune.engine.ggml import RPC_REMEDY
from layertune.engine.library import has_rpc
from layertune.errors import BuildError, DeviceError
from layertune.units import join_bytes

CUDA_REMEDY = (
    'rebuild it with: CMAKE_ARGS="-DGGML_CUDA=ON" pip install --force-reinstall --no-cache-dir --no-binary '
    "llama-cpp-python llama-cpp-python (from a clone of layertune: make clean env), "
    "or choose --device emulated:SIZE or --device cpu"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a worker offloads to.

    `vram_bytes` is the memory the device has, None for the CPU; `gpu_index` counts llama.cpp's GPUs; `n_threads` are
    the emulated card's own. Several devices of one kind are `parts` in the order of tensor_split; `name` and
    `vram_bytes` are then of all together, and only the parts have an index and an address.
    """

    kind: Literal["gpu", "emulated", "cpu"]
    name: str
    vram_bytes: int | None = None
    gpu_index: int | None = None
    pci_bus_id: str | None = None
    n_threads: int | None = None
    parts: tuple["Target", ...] = ()

    @classmethod
    def composite(cls, parts: Sequence["Target"]) -> "Target":
        """Return one device, or several as one."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        name = " + ".join(part.name for part in parts)
        if first.kind == "emulated":
            name = f"emulated cards of {join_bytes(part.vram_bytes or 0 for part in parts)}"
        vram_bytes = sum(part.vram_bytes or 0 for part in parts)
        return cls(first.kind, name, vram_bytes, n_threads=first.n_threads, parts=tuple(parts))

    @property
    def devices(self) -> tuple["Target", ...]:
        """The devices one by one; none for the CPU."""
        return () if self.kind == "cpu" else self.parts or (self,)


def resolve(
    choice: DeviceChoice, emulated_n_threads: int, *, gpus: tuple[GpuInfo, ...], has_rpc: bool, nvidia: bool
) -> Target:
    """Return the device that `choice` means where llama.cpp sees `gpus`.

    `has_rpc` says whether it was built with RPC, `nvidia` whether this machine has an NVIDIA driver.

    Raises:
        DeviceError: the device is not here, naming what is.
        BuildError: it could be, with another build of llama-cpp-python; the remedy is the command.
    """
    if choice.kind == "cpu":
        return Target("cpu", "CPU")
    if choice.kind == "emulated":
        if sys.platform == "win32":
            raise DeviceError("the emulated card needs Linux or macOS", remedy="choose --device gpu:0 or --device cpu")
        if not has_rpc:
            raise BuildError(
                "this llama-cpp-python was built without RPC, which the emulated card needs", remedy=RPC_REMEDY
            )
        return Target.composite(
            [
                Target("emulated", "emulated card", vram_bytes=size_bytes, n_threads=emulated_n_threads)
                for size_bytes in choice.sizes_bytes
            ]
        )
    return Target.composite([_gpu(index, gpus, nvidia=nvidia) for index in choice.indices or (0,)])


def find_target(choice: DeviceChoice, emulated_n_threads: int) -> Target:
    """Return the device that `choice` means on this machine; only for a GPU is llama.cpp asked.

    Raises:
        DeviceError: the device is not here, naming what is.
        BuildError: it could be, with another build of llama-cpp-python; the remedy is the command.
    """
    gpus: tuple[GpuInfo, ...] = ()
    if choice.kind in ("auto", "gpu"):
        gpus = inspect().gpus
    return resolve(choice, emulated_n_threads, gpus=gpus, has_rpc=has_rpc(), nvidia=has_nvidia_card())


def _gpu(index: int, gpus: tuple[GpuInfo, ...], *, nvidia: bool) -> Target:
    if index < len(gpus):
        gpu = gpus[index]
        return Target("gpu", gpu.description, gpu.total_bytes, gpu.index, gpu.pci_bus_id)
    if not gpus and nvidia:
        raise BuildError("this machine has an NVIDIA card and this llama-cpp-python cannot use it", remedy=CUDA_REMEDY)
    if not gpus:
        raise DeviceError(
            "llama.cpp sees no GPU here",
            remedy="choose --device emulated:SIZE (like emulated:6GiB) or --device cpu, or see layertune doctor",
        )
    there = ", ".join(f"gpu:{gpu.index} ({gpu.description})" for gpu in gpus)
    raise DeviceError(f"llama.cpp sees no gpu:{index} here", remedy=f"choose one of {there}")
