from dataclasses import replace

import pytest

from layertune.config.device import DeviceChoice
from layertune.devices.inspection import GpuInfo, Inspection
from layertune.devices.target import Target, resolve
from layertune.engine.build import BuildInfo
from layertune.errors import BuildError, DeviceError
from layertune.units import GIB

BUILD = BuildInfo("0.3.36", "0.25.3", "0c1e570", "CPU : AVX2 = 1", supports_rpc=True)
NO_RPC = BuildInfo("0.3.36", "0.25.3", "0c1e570", "CPU : AVX2 = 1", supports_rpc=False)
RTX = GpuInfo(0, "CUDA0", "NVIDIA GeForce RTX 4050 Laptop GPU", 6141 * 2**20, 5 * GIB, "0000:01:00.0", "CUDA")


def resolved(text: str, inspection: Inspection, *, nvidia: bool = False, has_cuda: bool = False) -> Target:
    has_rpc = inspection.build.supports_rpc
    choice = DeviceChoice.parse(text)
    return resolve(choice, 2, gpus=inspection.gpus, has_rpc=has_rpc, has_cuda=has_cuda, nvidia=nvidia)


def test_auto_is_the_first_gpu_that_llama_cpp_detects() -> None:
    target = resolved("auto", Inspection(BUILD, (RTX,)), nvidia=True)
    assert target == Target(
        "gpu",
        RTX.description,
        RTX.total_bytes,
        0,
        RTX.pci_bus_id,
        backend="CUDA",
        llama_cpp_name="CUDA0",
        free_bytes=RTX.free_bytes,
    )


INTEGRATED = GpuInfo(0, "Vulkan0", "AMD Radeon 780M", 16 * GIB, 15 * GIB, "0000:c5:00.0", "Vulkan", is_integrated=True)


def test_auto_prefers_a_discrete_card_to_an_integrated_one_that_is_listed_first() -> None:
    discrete = replace(RTX, index=1)
    assert resolved("auto", Inspection(BUILD, (INTEGRATED, discrete))).name == RTX.description


def test_auto_is_an_integrated_gpu_if_there_is_no_other() -> None:
    target = resolved("auto", Inspection(BUILD, (INTEGRATED,)))
    assert (target.gpu_index, target.shares_ram) == (0, True)


def test_one_card_of_two_backends_is_not_two_devices() -> None:
    twice = (RTX, replace(RTX, index=1, name="Vulkan0", backend="Vulkan"))
    assert resolved("auto", Inspection(BUILD, twice)).backend == "CUDA"
    with pytest.raises(DeviceError, match=r"gpu:0 and gpu:1 are one card.*for CUDA and for Vulkan.*choose gpu:0"):
        resolved("gpu:0+1", Inspection(BUILD, twice))


def test_apples_gpu_shares_the_ram() -> None:
    metal = GpuInfo(0, "MTL0", "Apple M3", 12 * GIB, 12 * GIB, None, "MTL")
    assert resolved("auto", Inspection(BUILD, (metal,))).shares_ram


def test_auto_without_a_gpu_stops_and_names_the_alternatives() -> None:
    with pytest.raises(DeviceError, match=r"no GPU here.*--device emulated:SIZE.*--device cpu"):
        resolved("auto", Inspection(BUILD, ()))


@pytest.mark.parametrize("choice", ["auto", "gpu:0"])
def test_an_nvidia_card_with_a_cpu_only_build_prints_the_command_that_fixes_it(choice: str) -> None:
    with pytest.raises(BuildError, match=r'CMAKE_ARGS="-DGGML_CUDA=ON" pip install') as caught:
        resolved(choice, Inspection(BUILD, ()), nvidia=True)
    assert caught.value.exit_status == 2


def test_a_cuda_build_that_sees_no_card_is_not_rebuilt() -> None:
    with pytest.raises(DeviceError, match=r"has CUDA, and the NVIDIA driver offers it no card; run nvidia-smi"):
        resolved("auto", Inspection(BUILD, ()), nvidia=True, has_cuda=True)


def test_a_gpu_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(DeviceError, match=r"no gpu:3 here; choose one of gpu:0 \(NVIDIA GeForce RTX 4050"):
        resolved("gpu:3", Inspection(BUILD, (RTX,)))


def test_the_emulated_card_needs_rpc_and_names_the_command_that_adds_it() -> None:
    with pytest.raises(BuildError, match=r'CMAKE_ARGS="-DGGML_RPC=ON" pip install'):
        resolved("emulated:1GiB", Inspection(NO_RPC, ()))


def test_the_emulated_card_has_the_configured_size_and_threads() -> None:
    target = resolved("emulated:1GiB", Inspection(BUILD, ()))
    assert (target.kind, target.vram_bytes, target.n_threads) == ("emulated", GIB, 2)


def test_the_cpu_is_a_device_without_memory_of_its_own() -> None:
    assert resolved("cpu", Inspection(BUILD, (RTX,))) == Target("cpu", "CPU")


def test_several_emulated_cards_are_one_target_of_as_many_devices() -> None:
    target = resolved("emulated:4GiB+2GiB", Inspection(BUILD, ()))
    assert [each.vram_bytes for each in target.devices] == [4 * GIB, 2 * GIB]
    assert (target.kind, target.vram_bytes, target.n_threads) == ("emulated", 6 * GIB, 2)
    assert target.name == "emulated cards of 4096.0 MiB + 2048.0 MiB"


def test_several_gpus_keep_their_configured_order() -> None:
    second = replace(RTX, index=1, description="NVIDIA RTX A2000", pci_bus_id="0000:02:00.0")
    target = resolved("gpu:1+0", Inspection(BUILD, (RTX, second)))
    assert [each.gpu_index for each in target.devices] == [1, 0]
    assert [each.pci_bus_id for each in target.devices] == [second.pci_bus_id, RTX.pci_bus_id]
    assert target.name == f"NVIDIA RTX A2000 + {RTX.description}"
    assert (target.gpu_index, target.pci_bus_id) == (None, None)


def test_a_missing_gpu_of_several_is_named() -> None:
    with pytest.raises(DeviceError, match=r"no gpu:1 here; choose one of gpu:0 \(NVIDIA GeForce RTX 4050"):
        resolved("gpu:0+1", Inspection(BUILD, (RTX,)))


def test_a_single_device_is_its_only_part_and_the_cpu_has_none() -> None:
    assert resolved("auto", Inspection(BUILD, (RTX,))).devices == (resolved("gpu:0", Inspection(BUILD, (RTX,))),)
    assert resolved("cpu", Inspection(BUILD, ())).devices == ()
