"""scripts/bootstrap.py: which llama.cpp it builds, on machines that are faked by what is on their PATH."""

import re
import runpy
import stat
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "-DGGML_RPC=ON -DLLAVA_BUILD=OFF"


class Machine:
    """The parts of a machine that the choice depends on; each test adds what is there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.cuda, self.environment = folder / "bin", folder / "cuda", folder / "venv"
        self.environment.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", str(self.path))
        monkeypatch.delenv("CMAKE_ARGS", raising=False)
        monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
        names = runpy.run_path(str(ROOT / "scripts" / "bootstrap.py"))
        self._choose = names["chosen_cmake_args"]
        self.globals = self._choose.__globals__
        self.globals.update(CUDA_FOLDERS=(self.cuda,), DRIVER_LIBRARIES=(folder / "libcuda.so.1",))

    def add(self, program: str, prints: str = "", folder: Path | None = None) -> None:
        file = (folder or self.path) / program
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\nprintf '{prints}'\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def chosen(self, given: str | None = None) -> str:
        if given is not None:
            self._monkeypatch.setenv("CMAKE_ARGS", given)
        return str(self._choose(self.environment))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_without_an_nvidia_driver_the_cpu_is_built_even_with_nvcc(machine: Machine) -> None:
    machine.add("nvcc")
    assert machine.chosen() == BASE


def test_a_driver_without_nvcc_stops_and_says_what_to_install_and_how_to_go_on(machine: Machine) -> None:
    machine.add("nvidia-smi", "8.9\\n")
    with pytest.raises(SystemExit) as stopped:
        machine.chosen()
    message = str(stopped.value)
    assert "install the CUDA toolkit" in message
    assert str(machine.cuda) in message
    [way_on] = re.findall(r"CMAKE_ARGS=(\S+)", message)
    assert machine.chosen(way_on) == f"{BASE} -DGGML_CUDA=OFF"


def test_the_driver_of_wsl2_counts_although_it_is_on_no_path(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").touch()
    with pytest.raises(SystemExit):
        machine.chosen()


def test_cuda_is_built_for_the_cards_that_are_here(machine: Machine) -> None:
    machine.add("nvcc")
    machine.add("nvidia-smi", "8.9\\n12.0\\n8.9\\n")
    assert machine.chosen() == f"{BASE} -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=120;89"


def test_nvcc_is_found_where_nvidia_s_packages_put_it(machine: Machine) -> None:
    machine.add("nvcc", folder=machine.cuda)
    machine.add("nvidia-smi", "9.0\\n")
    expected = f"-DGGML_CUDA=ON -DCMAKE_CUDA_COMPILER={machine.cuda / 'nvcc'} -DCMAKE_CUDA_ARCHITECTURES=90"
    assert machine.chosen() == f"{BASE} {expected}"


def test_an_nvidia_smi_that_fails_names_no_card(machine: Machine) -> None:
    machine.add("nvcc")
    machine.add("nvidia-smi", "NVIDIA-SMI has failed\\n")
    assert machine.chosen() == f"{BASE} -DGGML_CUDA=ON"


def test_another_backend_needs_no_nvcc(machine: Machine) -> None:
    machine.add("nvidia-smi", "8.9\\n")
    assert machine.chosen("-DGGML_VULKAN=ON") == f"{BASE} -DGGML_VULKAN=ON"


def test_an_environment_keeps_its_backend_until_cmake_args_are_given(machine: Machine) -> None:
    machine.add("nvidia-smi", "8.9\\n")
    machine.globals["remembered"](machine.environment).write_text(" -DGGML_VULKAN=ON")
    assert machine.chosen() == f"{BASE} -DGGML_VULKAN=ON"
    assert machine.chosen("-DGGML_CUDA=OFF") == f"{BASE} -DGGML_CUDA=OFF"


def test_a_new_environment_remembers_what_it_was_built_with(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.globals.update(create_venv=lambda folder: folder, llama_wheel=lambda python, args: python, pip=print)
    monkeypatch.setattr("sys.argv", ["bootstrap.py", "--venv", str(machine.environment)])
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=ON")
    assert machine.globals["main"]() == 0
    monkeypatch.delenv("CMAKE_ARGS")
    assert machine.chosen() == f"{BASE} -DGGML_VULKAN=ON"


def test_a_cpu_environment_looks_again_for_a_gpu(machine: Machine) -> None:
    machine.globals["remembered"](machine.environment).write_text("")
    machine.add("nvcc")
    machine.add("nvidia-smi", "8.9\\n")
    assert "-DGGML_CUDA=ON" in machine.chosen()


@pytest.mark.parametrize(("args", "cuda"), [("-DGGML_CUDA=ON", True), ("-DGGML_CUDA=OFF", False), (BASE, False)])
def test_only_a_cuda_build_is_said_to_take_longer(machine: Machine, args: str, cuda: bool) -> None:
    assert ("much longer" in machine.globals["how_long"](args)) == cuda


def test_make_clean_and_the_doctor_s_remedies_leave_the_models() -> None:
    _, _, recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nclean:")
    assert "rm -rf" in recipe
    assert "models" not in re.sub("#.*", "", recipe)
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]
    assert [path for path in sources if re.search(r"make clean|rm -r", path.read_text(encoding="utf-8"))] == []
