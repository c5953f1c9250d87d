"""What this machine can do for layertune, and the commands that fix what it cannot."""

from dataclasses import dataclass

from layertune.devices.cores import Cores
from layertune.devices.host import Machine
from layertune.devices.inspection import Inspection
from layertune.devices.target import CUDA_DRIVER, CUDA_REMEDY
from layertune.engine.ggml import RPC_REMEDY
from layertune.units import format_bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report; `remedy` is None where nothing is wrong."""

    what: str
    good: bool
    detail: str
    remedy: str | None = None


def findings(
    machine: Machine, cores: Cores, inspection: Inspection, driver: str | None, *, nvidia: bool, has_cuda: bool
) -> list[Finding]:
    """Return what is here and what is missing.

    Args:
        machine: This machine.
        cores: Its cores.
        inspection: The installed llama.cpp and the GPUs that it detects.
        driver: The version of the NVIDIA driver that NVML reports; None if it does not answer.
        nvidia: Whether an NVIDIA driver is loaded.
        has_cuda: Whether llama.cpp was built with CUDA.
    """
    build, gpus = inspection.build, inspection.gpus
    return [
        Finding("machine", True, f"{machine.cpu_model}, {cores.words()}, {format_bytes(machine.ram_bytes)}"),
        Finding("llama.cpp", True, f"{build.version} ({build.commit}), llama-cpp-python {build.llama_cpp_python}"),
        *[Finding(f"gpu:{gpu.index}", True, f"{gpu.description}, {format_bytes(gpu.total_bytes)}") for gpu in gpus],
        *([] if gpus else [_no_gpu(nvidia=nvidia, has_cuda=has_cuda)]),
        Finding("NVML", driver is not None, f"driver {driver}" if driver else "no NVIDIA driver answers"),
        Finding("emulated card", True, "--device emulated:6GiB")
        if build.supports_rpc
        else Finding("emulated card", False, "this build has no RPC", RPC_REMEDY),
    ]


def _no_gpu(*, nvidia: bool, has_cuda: bool) -> Finding:
    if nvidia and has_cuda:
        return Finding("GPU", False, "this build has CUDA, and the NVIDIA driver offers it no card", CUDA_DRIVER)
    if nvidia:
        return Finding("GPU", False, "an NVIDIA driver is here and this build cannot use it", CUDA_REMEDY)
    return Finding("GPU", False, "llama.cpp sees none", "use --device emulated:SIZE or --device cpu")
