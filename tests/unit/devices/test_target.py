import pytest

from layertune.config.device import DeviceChoice
from layertune.devices.inspection import Inspection
from layertune.devices.target import GpuInfo, Target, resolve
from layertune.engine.library import BuildInfo
from layertune.errors import BuildError, DeviceError
from layertune.units import GIB

BUILD = BuildInfo("0.3.36", "0.25.3", "0c1e570", "CPU : AVX2 = 1", supports_rpc=True)
NO_RPC = BuildInfo("0.3.36", "0.25.3", "0c1e570", "CPU : AVX2 = 1", supports_rpc=False)
RTX = GpuInfo(0, "CUDA0", "NVIDIA GeForce RTX 4050 Laptop GPU", 6141 * 2**20, 5 * GIB, "0000:01:00.0")


def resolved(text: str, inspection: Inspection, *, nvidia: bool = False) -> Target:
    has_rpc = inspection.build.supports_rpc
    return resolve(DeviceChoice.parse(text), 2, gpus=inspection.gpus, has_rpc=has_rpc, nvidia=nvidia)


def test_auto_is_the_first_gpu_that_llama_cpp_sees() -> None:
    target = resolved("auto", Inspection(BUILD, (RTX,)), nvidia=True)
    assert target == Target("gpu", RTX.description, RTX.total_bytes, 0, RTX.pci_bus_id)


def test_auto_without_a_gpu_stops_and_names_the_alternatives() -> None:
    with pytest.raises(DeviceError, match=r"no GPU here.*--device emulated:SIZE.*--device cpu"):
        resolved("auto", Inspection(BUILD, ()))


@pytest.mark.parametrize("choice", ["auto", "gpu:0"])
def test_an_nvidia_card_with_a_cpu_only_build_prints_the_command_that_mends_it(choice: str) -> None:
    with pytest.raises(BuildError, match=r'CMAKE_ARGS="-DGGML_CUDA=ON" pip install') as caught:
        resolved(choice, Inspection(BUILD, ()), nvidia=True)
    assert caught.value.exit_status == 2


def test_a_gpu_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(DeviceError, match=r"no gpu:3 here; choose one of gpu:0 \(NVIDIA GeForce RTX 4050"):
        resolved("gpu:3", Inspection(BUILD, (RTX,)))


def test_the_emulated_card_needs_rpc_and_names_the_command_that_adds_it() -> None:
    with pytest.raises(BuildError, match=r'CMAKE_ARGS="-DGGML_RPC=ON" pip install'):
        resolved("emulated:1GiB", Inspection(NO_RPC, ()))


def test_the_emulated_card_has_the_size_and_threads_asked_for() -> None:
    target = resolved("emulated:1GiB", Inspection(BUILD, ()))
    assert (target.kind, target.vram_bytes, target.n_threads) == ("emulated", GIB, 2)


def test_the_cpu_is_a_device_without_memory_of_its_own() -> None:
    assert resolved("cpu", Inspection(BUILD, (RTX,))) == Target("cpu", "CPU")
