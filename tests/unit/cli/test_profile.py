"""`layertune profile` on this machine, and on machines that it is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from layertune.config import load_hardware
from layertune.devices.host import Machine, has_nvidia_card
from layertune.devices.inspection import inspect
from layertune.devices.target import Target
from layertune.study.hardware_info import hardware_info
from layertune.units import GIB, MIB

MACHINE = Machine("Test CPU", 4, 16 * GIB)
EMULATED = Target("emulated", "emulated card", vram_bytes=240 * MIB, n_threads=2)


def layertune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from layertune.cli.main import run; run()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_equal_hardware_has_one_fingerprint_and_unlike_hardware_another() -> None:
    first = hardware_info(EMULATED, MACHINE)
    assert hardware_info(EMULATED, Machine("Test CPU", 4, 16 * GIB + MIB)).fingerprint == first.fingerprint
    for other in (Machine("Other CPU", 4, 16 * GIB), Machine("Test CPU", 8, 16 * GIB), Machine("Test CPU", 4, 8 * GIB)):
        assert hardware_info(EMULATED, other).fingerprint != first.fingerprint
    assert hardware_info(Target("cpu", "CPU"), MACHINE).fingerprint != first.fingerprint


def test_a_fingerprint_is_the_one_of_studies_recorded_before_there_were_profiles() -> None:
    recorded = json.loads(
        (Path(__file__).parents[3] / "studies" / "rtx4050-3b-7b-emulated" / "result.json").read_text(encoding="utf-8")
    )["hardware"]
    machine = Machine(recorded["cpu"]["model"], recorded["cpu"]["n_cores"], recorded["ram_bytes"])
    target = Target("emulated", "emulated card", vram_bytes=recorded["device"]["vram_bytes"], n_threads=2)
    assert hardware_info(target, machine).fingerprint == recorded["fingerprint"]


def test_the_profile_of_a_machine_is_a_file_that_loads(tmp_path: Path) -> None:
    if inspect().gpus or has_nvidia_card():
        pytest.skip("this machine has a GPU")
    file = tmp_path / "mine.toml"
    answer = layertune("profile", "-o", str(file))
    assert (answer.returncode, answer.stdout) == (0, "")
    assert answer.stderr.splitlines() == [
        "llama.cpp sees no GPU here: this is the profile of the CPU alone",
        f"wrote {file}",
    ]
    profile = load_hardware(file)
    assert (profile.device.kind, profile.device.vram, profile.device.bandwidth) == ("cpu", None, None)
    assert profile.host is not None
    assert profile.host.bandwidth is not None
    assert profile.host.bandwidth.n_threads == profile.host.n_cores
    assert 10**8 < profile.host.bandwidth.bytes_per_s < 10**13
    assert profile.host.bandwidth.source.startswith("measured: ")
    assert profile.llama_cpp is not None
    assert profile.llama_cpp.flags


def test_an_emulated_card_has_its_size_and_no_bandwidth_of_its_own() -> None:
    answer = layertune("profile", "--device", "emulated:240MiB", "--json")
    if "built without RPC" in answer.stderr or "needs Linux or macOS" in answer.stderr:
        pytest.skip(answer.stderr)
    assert answer.returncode == 0
    device = json.loads(answer.stdout)["device"]
    assert device == {
        "kind": "emulated",
        "name": "emulated card",
        "vram": {"size": 240 * MIB, "source": "chosen with --device"},
        "n_threads": 2,
    }


@pytest.mark.parametrize(
    ("device", "words"), [("gpu:99", "sees no"), ("magic", "'magic' is not a device; write auto, cpu")]
)
def test_a_device_that_is_not_here_is_one_sentence(device: str, words: str) -> None:
    answer = layertune("profile", "--device", device)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
