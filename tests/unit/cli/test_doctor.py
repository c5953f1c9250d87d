from layertune.devices.cores import Cores
from layertune.devices.host import Machine
from layertune.devices.inspection import GpuInfo, Inspection
from layertune.engine.build import BuildInfo
from layertune.study.findings import findings
from layertune.units import GIB

MACHINE = Machine("Test CPU", 4, 16 * GIB)
RTX = GpuInfo(0, "CUDA0", "NVIDIA GeForce RTX 4050 Laptop GPU", 6141 * 2**20, 5 * GIB, "0000:01:00.0")


def build(*, rpc: bool) -> BuildInfo:
    return BuildInfo("0.3.36", "0.25.3", "0c1e570", "CPU : AVX2 = 1", supports_rpc=rpc)


def remedies(
    inspection: Inspection, driver: str | None, *, nvidia: bool, has_cuda: bool = False
) -> dict[str, str | None]:
    found = findings(MACHINE, Cores(8, 4), inspection, driver, nvidia=nvidia, has_cuda=has_cuda)
    return {finding.what: finding.remedy for finding in found if not finding.good}


def test_the_machine_line_says_how_many_cores_compute() -> None:
    found = findings(MACHINE, Cores(20, 6, 8), Inspection(build(rpc=True), (RTX,)), "560.1", nvidia=True, has_cuda=True)
    assert found[0].detail == "Test CPU, 6 performance + 8 efficiency cores, 20 threads, 16.00 GiB"


def test_a_machine_with_a_gpu_and_a_full_build_needs_nothing() -> None:
    assert remedies(Inspection(build(rpc=True), (RTX,)), "560.1", nvidia=True) == {}


def test_an_nvidia_card_without_a_cuda_build_gets_the_command() -> None:
    remedy = remedies(Inspection(build(rpc=True), ()), "560.1", nvidia=True)["GPU"]
    assert remedy is not None
    assert "-DGGML_CUDA=ON" in remedy


def test_a_cuda_build_without_a_card_blames_the_driver_and_not_the_build() -> None:
    remedy = remedies(Inspection(build(rpc=True), ()), None, nvidia=True, has_cuda=True)["GPU"]
    assert remedy is not None
    assert remedy.startswith("run nvidia-smi")
    assert "CMAKE_ARGS" not in remedy


def test_a_build_without_rpc_gets_the_command() -> None:
    remedy = remedies(Inspection(build(rpc=False), (RTX,)), "560.1", nvidia=True)["emulated card"]
    assert remedy is not None
    assert "-DGGML_RPC=ON" in remedy


def test_a_machine_without_a_gpu_is_told_what_to_use() -> None:
    found = remedies(Inspection(build(rpc=True), ()), None, nvidia=False)
    assert found.keys() == {"GPU", "NVML"}
    assert found["GPU"] == "use --device emulated:SIZE or --device cpu"
