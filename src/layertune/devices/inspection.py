"""Finds the GPUs that llama.cpp detects on this machine, in a child process.

The search itself never loads llama.cpp, since a loaded CUDA backend would hold device memory for the whole study.
"""

import subprocess
import sys
from dataclasses import dataclass

from pydantic import TypeAdapter

from layertune.engine.build import BuildInfo
from layertune.errors import BuildError

_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU that this build of llama.cpp can offload to; `index` counts GPUs only, in llama.cpp's order.

    A card that two backends of the build support is there twice, with the same `pci_bus_id`. `backend` is as in
    `ggml.DeviceProps`. The free memory is what was left after the context of the process that looked was created.
    """

    index: int
    name: str
    description: str
    total_bytes: int
    free_bytes: int
    pci_bus_id: str | None
    backend: str = ""
    is_integrated: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """The installed llama.cpp and the GPUs that it detects."""

    build: BuildInfo
    gpus: tuple[GpuInfo, ...]


_INSPECTION: TypeAdapter[Inspection] = TypeAdapter(Inspection)


def inspect() -> Inspection:
    """Return the installed llama.cpp and its GPUs, from a child process.

    Raises:
        BuildError: llama-cpp-python does not load; the remedy is the command that fixes it.
    """
    command = [sys.executable, "-m", "layertune.devices.inspection"]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(
            f"llama.cpp did not start within {_TIMEOUT_S:.0f} s", remedy="look at the GPU driver with: nvidia-smi"
        ) from error
    except OSError as error:
        raise BuildError(f"{sys.executable} cannot be started: {error.strerror}", remedy="try again") from error
    if answer.returncode != 0:
        words = answer.stderr.decode(errors="replace").strip().splitlines()
        raise BuildError(words[-1] if words else f"llama.cpp ended with status {answer.returncode}")
    return _INSPECTION.validate_json(answer.stdout)


def main() -> int:
    """Write the inspection to standard output as JSON; return the exit status."""
    from layertune.engine import ggml
    from layertune.engine.build import build_info

    try:
        build = build_info()
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    props = [found for device in ggml.devices() if (found := ggml.props(device)).is_gpu]
    gpus = tuple(
        GpuInfo(
            index=index,
            name=gpu.name,
            description=gpu.description,
            total_bytes=gpu.total_bytes,
            free_bytes=gpu.free_bytes,
            pci_bus_id=gpu.pci_bus_id,
            backend=gpu.backend,
            is_integrated=gpu.is_integrated,
        )
        for index, gpu in enumerate(props)
    )
    sys.stdout.buffer.write(_INSPECTION.dump_json(Inspection(build, gpus)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
