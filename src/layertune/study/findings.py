"""What this machine can do for layertune, and the commands that fix what it cannot."""

from dataclasses import dataclass

from layertune.devices.host import Machine
from layertune.devices.inspection import Inspection
from layertune.devices.target import CUDA_REMEDY
from layertune.engine.ggml import RPC_REMEDY
from layertune.units import format_bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report; `remedy` is None where nothing is wrong."""

    what: str
    good: bool
    detail: str
    remedy: str | None = None


def findings(machine: Machine, inspection: Inspection, driver: str | None, *, nvidia: bool) -> list[Finding]:
    build, gpus = inspection.build, inspection.gpus
    return [
        Finding("machine", True, f"{machine.cpu_model}, {machine.n_cores} cores, {format_bytes(machine.ram_bytes)}"),
        Finding("llama.cpp", True, f"{build.version} ({build.commit}), llama-cpp-python {build.llama_cpp_python}"),
        *[Finding(f"gpu:{gpu.index}", True, f"{gpu.description}, {format_bytes(gpu.total_bytes)}") for gpu in gpus],
        *([] if gpus else [_no_gpu(nvidia=nvidia)]),
        Finding("NVML", driver is not None, f"driver {driver}" if driver else "no NVIDIA driver answers"),
        Finding("emulated card", True, "--device emulated:6GiB")
        if build.supports_rpc
        else Finding("emulated card", False, "this build has no RPC", RPC_REMEDY),
    ]


def _no_gpu(*, nvidia: bool) -> Finding:
    if nvidia:
        return Finding("GPU", False, "an NVIDIA driver is here and this build cannot use it", CUDA_REMEDY)
    return Finding("GPU", False, "llama.cpp sees none", "use --device emulated:SIZE or --device cpu")
