"""layertune doctor: what this machine can do, and the command that mends what it cannot."""

from dataclasses import asdict, dataclass

from layertune.cli.console import show, show_json
from layertune.devices.hardware import Machine, has_nvidia_card, this_machine
from layertune.devices.inspection import Inspection, inspect
from layertune.devices.target import CUDA_REMEDY
from layertune.engine.ggml import RPC_REMEDY
from layertune.units import format_bytes
from layertune.vram.nvml import driver_version


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report; `remedy` is None where nothing is wrong."""

    what: str
    good: bool
    detail: str
    remedy: str | None = None


def run(*, as_json: bool) -> None:
    machine, inspection = this_machine(), inspect()
    found = findings(machine, inspection, driver_version(), nvidia=has_nvidia_card())
    if as_json:
        report = {"machine": asdict(machine), **asdict(inspection), "findings": [asdict(each) for each in found]}
        show_json(report)
        return
    for each in found:
        show(f"{'ok' if each.good else 'no':>4}  {each.what}: {each.detail}", wrap=False)
        if each.remedy is not None:
            show(f"      {each.remedy}", wrap=False)


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
