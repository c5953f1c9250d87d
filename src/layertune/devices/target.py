"""The devices of a study: the config's choice, resolved on this machine. They are plain data; a worker opens them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from layertune.config.device import DeviceChoice
from layertune.devices.host import has_nvidia_card
from layertune.devices.inspection import GpuInfo, inspect
from layertune.engine.ggml import RPC_REMEDY
from layertune.engine.library import has_cuda, has_rpc, rebuild
from layertune.errors import BuildError, DeviceError
from layertune.units import join_bytes

CUDA_REMEDY = (
    f"rebuild it with: {rebuild('-DGGML_CUDA=ON')} "
    "(from a clone of layertune: make env CMAKE_ARGS=-DGGML_CUDA=ON), "
    "or choose --device emulated:SIZE or --device cpu"
)

CUDA_DRIVER = (
    "run nvidia-smi: if it fails, the driver does not run (after an update of it, restart the machine); if its CUDA "
    "version is older than the one of this build, update the driver; and CUDA_VISIBLE_DEVICES must not be empty"
)

# ggml-metal.cpp: GGML_METAL_NAME, also of older versions. Every Mac that llama.cpp supports well has one memory.
_OF_APPLE = frozenset({"MTL", "Metal"})


@dataclass(frozen=True, slots=True)
class Target:
    """The device that a worker offloads to, or a composite of several devices of one kind.

    Attributes:
        kind: The kind of device.
        name: Its name; for a composite, the names of all parts.
        vram_bytes: Its memory; for a composite, the sum of all parts. None for the CPU.
        gpu_index: Its number among llama.cpp's GPUs; None for a composite and for other devices.
        pci_bus_id: Its PCI address; None for a composite and for a device without one.
        n_threads: The threads of an emulated card; None for other devices.
        parts: The devices of a composite, in the order of tensor_split.
        backend: The backend of a GPU, as in `ggml.DeviceProps`; None for other devices.
        llama_cpp_name: The name of a GPU in llama.cpp, like "CUDA0"; None for other devices.
        free_bytes: What was free of a GPU when it was found; None for other devices.
        shares_ram: Whether its memory is the machine's RAM: an integrated GPU, or Apple's.
    """

    kind: Literal["gpu", "emulated", "cpu"]
    name: str
    vram_bytes: int | None = None
    gpu_index: int | None = None
    pci_bus_id: str | None = None
    n_threads: int | None = None
    parts: tuple["Target", ...] = ()
    backend: str | None = None
    free_bytes: int | None = None
    shares_ram: bool = False
    llama_cpp_name: str | None = None

    @classmethod
    def composite(cls, parts: Sequence["Target"]) -> "Target":
        """Return a composite of several devices, or the device itself if there is only one."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        name = " + ".join(part.name for part in parts)
        if first.kind == "emulated":
            name = f"emulated cards of {join_bytes(part.vram_bytes or 0 for part in parts)}"
        vram_bytes = sum(part.vram_bytes or 0 for part in parts)
        return cls(first.kind, name, vram_bytes, n_threads=first.n_threads, parts=tuple(parts), backend=first.backend)

    @property
    def devices(self) -> tuple["Target", ...]:
        """The single devices; none for the CPU."""
        return () if self.kind == "cpu" else self.parts or (self,)


def resolve(
    choice: DeviceChoice,
    emulated_n_threads: int | None,
    *,
    gpus: tuple[GpuInfo, ...],
    has_rpc: bool,
    has_cuda: bool,
    nvidia: bool,
) -> Target:
    """Return the devices of a choice.

    Args:
        choice: The config's choice.
        emulated_n_threads: The threads of an emulated card.
        gpus: The GPUs that llama.cpp detects.
        has_rpc: Whether llama.cpp was built with RPC.
        has_cuda: Whether it was built with CUDA.
        nvidia: Whether this machine has an NVIDIA driver.

    Raises:
        DeviceError: the device is not on this machine; the message names those that are.
        BuildError: it needs another build of llama-cpp-python; the remedy is the command.
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
    indices = choice.indices or (_default_index(gpus),)
    chosen = [_gpu(index, gpus, nvidia=nvidia, has_cuda=has_cuda) for index in indices]
    for number, other in enumerate(chosen):
        for one in chosen[:number]:
            if one.pci_bus_id is not None and one.pci_bus_id == other.pci_bus_id:
                raise DeviceError(
                    f"gpu:{one.gpu_index} and gpu:{other.gpu_index} are one card, {one.name}, which this llama.cpp "
                    f"lists for {one.backend} and for {other.backend}",
                    remedy=f"choose gpu:{one.gpu_index}",
                )
    return Target.composite(chosen)


def find_target(choice: DeviceChoice, emulated_n_threads: int | None) -> Target:
    """Return the devices of a choice on this machine; only a GPU needs llama.cpp, in a child process.

    Args:
        choice: The config's choice.
        emulated_n_threads: The threads of an emulated card.

    Raises:
        DeviceError: the device is not on this machine; the message names those that are.
        BuildError: it needs another build of llama-cpp-python; the remedy is the command.
    """
    gpus: tuple[GpuInfo, ...] = ()
    if choice.kind in ("auto", "gpu"):
        gpus = inspect().gpus
    return resolve(
        choice, emulated_n_threads, gpus=gpus, has_rpc=has_rpc(), has_cuda=has_cuda(), nvidia=has_nvidia_card()
    )


def _default_index(gpus: tuple[GpuInfo, ...]) -> int:
    """Return the GPU that `auto` is: the first discrete one, as in llama.cpp (llama_prepare_model_devices), and an
    integrated one only if there is no other."""
    return next((gpu.index for gpu in gpus if not gpu.is_integrated), 0)


def _gpu(index: int, gpus: tuple[GpuInfo, ...], *, nvidia: bool, has_cuda: bool) -> Target:
    if index < len(gpus):
        gpu = gpus[index]
        return Target(
            "gpu",
            gpu.description,
            gpu.total_bytes,
            gpu.index,
            gpu.pci_bus_id,
            backend=gpu.backend,
            llama_cpp_name=gpu.name,
            free_bytes=gpu.free_bytes,
            shares_ram=gpu.is_integrated or gpu.backend in _OF_APPLE,
        )
    if not gpus and nvidia and has_cuda:
        raise DeviceError("this llama-cpp-python has CUDA, and the NVIDIA driver offers it no card", remedy=CUDA_DRIVER)
    if not gpus and nvidia:
        raise BuildError("this machine has an NVIDIA card and this llama-cpp-python cannot use it", remedy=CUDA_REMEDY)
    if not gpus:
        raise DeviceError(
            "llama.cpp sees no GPU here",
            remedy="choose --device emulated:SIZE (like emulated:6GiB) or --device cpu, or see layertune doctor",
        )
    there = ", ".join(f"gpu:{gpu.index} ({gpu.description})" for gpu in gpus)
    raise DeviceError(f"llama.cpp sees no gpu:{index} here", remedy=f"choose one of {there}")
