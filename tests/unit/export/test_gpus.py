"""Exports of studies on GPUs that are not here: the backend's image and devices, and the card that was measured."""

from typing import Any

import pytest
import yaml

from finished_study import result
from layertune.errors import UsageError
from layertune.export import export_files
from layertune.export.flags import server_flags
from layertune.results.result import BudgetInfo, Result
from layertune.units import GIB
from readers import preset_sections, shell_words


def study(backend: str | None, *gpus: tuple[str, int | None]) -> Result:
    """Return a study of GPUs, each with its name and its number for nvidia-smi."""
    found = result()
    device: dict[str, Any] = {"kind": "gpu", "name": "Card", "backend": backend}
    device["gpus"] = [{"device": name, "nvidia_index": index} for name, index in gpus] or None
    read = found.hardware.device.model_validate({**found.hardware.device.model_dump(), **device})
    budget = (
        BudgetInfo(vram_bytes=4 * GIB, margin_bytes=0, devices=[2 * GIB, 2 * GIB]) if len(gpus) > 1 else found.budget
    )
    return found.model_copy(update={"hardware": found.hardware.model_copy(update={"device": read}), "budget": budget})


def service(found: Result) -> Any:
    compose = yaml.safe_load(export_files(found, "compose")["compose.yml"])
    return compose["services"]["inference-chat"]


def flags(found: Result) -> dict[str, str]:
    return {flag.option: flag.value for flag in server_flags(found, found.picked("balanced"), "chat")}


def reserved(found: Result) -> Any:
    (device,) = service(found)["deploy"]["resources"]["reservations"]["devices"]
    return device


def test_the_measured_card_is_pinned_in_every_format() -> None:
    second = study("CUDA", ("CUDA1", 1))
    assert (flags(second)["device"], flags(second)["split-mode"]) == ("CUDA1", "none")
    words = shell_words(export_files(second, "llama-server")["chat.sh"])
    assert words[words.index("--device") + 1] == "CUDA1"
    assert preset_sections(export_files(second, "preset")["preset.ini"])["chat"]["device"] == "CUDA1"
    assert "--device CUDA1" in export_files(second, "llama-swap")["llama-swap.yaml"]
    assert "--device CUDA1" in export_files(second, "systemd")["llama-server-chat.service"]
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1" in export_files(second, "ollama")["chat.Modelfile"]


def test_a_container_has_only_the_measured_card_which_is_its_first() -> None:
    second = study("CUDA", ("CUDA1", 1))
    assert reserved(second)["device_ids"] == ["1"]
    command = service(second)["command"]
    assert command[command.index("--split-mode") + 1] == "none"
    assert "--device" not in command


def test_two_cards_are_reserved_and_the_layers_are_split_over_them() -> None:
    both = study("CUDA", ("CUDA0", 0), ("CUDA1", 1))
    assert reserved(both)["device_ids"] == ["0", "1"]
    assert flags(both)["device"] == "CUDA0,CUDA1"
    assert "split-mode" not in flags(both)


def test_cards_in_another_order_keep_it_in_a_container() -> None:
    turned = service(study("CUDA", ("CUDA0", 2), ("CUDA1", 1)))
    assert turned["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] == ["1", "2"]
    command = turned["command"]
    assert command[command.index("--device") + 1] == "CUDA1,CUDA0"
    assert turned["environment"] == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert "environment" not in service(study("CUDA", ("CUDA1", 1)))


def test_cards_that_nvidia_smi_did_not_number_are_reserved_by_their_count() -> None:
    assert reserved(study("CUDA", ("CUDA0", None), ("CUDA1", None)))["count"] == 2


@pytest.mark.parametrize(
    ("backend", "suffix", "files"),
    [
        ("ROCm", "-rocm", ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"]),
        ("Vulkan", "-vulkan", ["/dev/dri:/dev/dri"]),
        ("SYCL", "-intel", ["/dev/dri:/dev/dri"]),
    ],
)
def test_other_vendors_get_their_own_image_and_devices(backend: str, suffix: str, files: list[str]) -> None:
    found = service(study(backend, (f"{backend}0", None)))
    assert found["image"] == f"${{LLAMA_SERVER_IMAGE:-ghcr.io/ggml-org/llama.cpp:server{suffix}}}"
    assert (found["devices"], found["group_add"]) == (files, ["video", "render"])
    assert "deploy" not in found
    assert found["command"][found["command"].index("--device") + 1] == f"{backend}0"


def test_metal_in_a_container_is_refused() -> None:
    apple = study("MTL", ("MTL0", None))
    with pytest.raises(UsageError, match=r"no container image of llama\.cpp uses Card through MTL; serve it without"):
        export_files(apple, "compose")
    assert flags(apple)["device"] == "MTL0"


def test_a_result_without_a_backend_is_exported_as_before_but_on_one_card() -> None:
    older = study(None)
    assert service(older)["image"].endswith("server-cuda}")
    assert reserved(older)["count"] == 1
    assert flags(older)["split-mode"] == "none"
    assert "device" not in flags(older)


@pytest.mark.parametrize("name", ["CUDA0; reboot", "CUDA0\nport = 1", ""])
def test_a_device_name_that_could_change_a_command_is_no_result(name: str) -> None:
    with pytest.raises(ValueError, match="device"):
        study("CUDA", (name, 0))
