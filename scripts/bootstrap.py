"""Create or update the project's environment; with nothing to do it returns at once. Standard library only.

    python3 scripts/bootstrap.py [--venv .venv]

llama-cpp-python is compiled once per (version, CMAKE_ARGS, compiler, processor) and the wheel is kept in the
user's cache. pip's own wheel cache is not used for it: it does not look at CMAKE_ARGS, so a CPU wheel would
answer for a CUDA one. An environment remembers the backend that it was built for, until CMAKE_ARGS are given again.
"""

import argparse
import ctypes.util
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements.txt"
MIN_PYTHON = (3, 11)
BASE_CMAKE_ARGS = "-DGGML_RPC=ON -DLLAVA_BUILD=OFF"
CUDA_FOLDERS = (Path("/usr/local/cuda/bin"),)  # where NVIDIA's packages put nvcc, which is not on the PATH by itself
DRIVER_LIBRARIES = (Path("/usr/lib/wsl/lib/libcuda.so.1"),)  # WSL2: the driver is that of Windows
NO_NVCC = """\
an NVIDIA driver is here, but nvcc is not, so llama.cpp cannot be built for the GPU.
  For the GPU: install the CUDA toolkit, not its driver, and run make again. nvcc must be on the PATH or in {folders}.
    Ubuntu, Debian and WSL2: https://developer.nvidia.com/cuda-downloads, then: sudo apt install cuda-toolkit
  Without the GPU: add CMAKE_ARGS=-DGGML_CUDA=OFF to the make command, once. Emulated cards have this CPU's speeds."""
BACKEND = re.compile(r"GGML_(CUDA|VULKAN|METAL|HIP|SYCL|MUSA)=(\w+)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    options = parser.parse_args()
    if sys.version_info[:2] < MIN_PYTHON:
        print(
            f"layertune needs Python 3.11 or newer; this is {platform.python_version()}. Set PYTHON=…", file=sys.stderr
        )
        return 1
    cmake_args = chosen_cmake_args(options.venv)
    stamp = options.venv / "layertune.stamp"
    wanted = fingerprint(cmake_args, REQUIREMENTS.read_bytes(), (ROOT / "pyproject.toml").read_bytes())
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return 0
    started = time.monotonic()
    if "GGML_CUDA" not in cmake_args and nvcc() and not has_nvidia_driver():
        say("nvcc is here but no NVIDIA driver is: building without CUDA (CMAKE_ARGS=-DGGML_CUDA=ON forces it)")
    python = create_venv(options.venv)
    wheel = llama_wheel(python, cmake_args)
    pip(python, "install", "--quiet", "--force-reinstall", "--no-deps", str(wheel))
    pip(python, "install", "--quiet", "--requirement", str(REQUIREMENTS))
    pip(python, "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    remembered(options.venv).write_text(cmake_args.removeprefix(BASE_CMAKE_ARGS), encoding="utf-8")
    stamp.write_text(wanted, encoding="utf-8")
    say(f"environment ready in {options.venv} after {time.monotonic() - started:.0f} s")
    return 0


def chosen_cmake_args(environment: Path) -> str:
    """Return the arguments that llama.cpp is built with: ours first, so that the user's win.

    Args:
        environment: The folder of the environment, which may remember its backend.
    """
    given, kept = os.environ.get("CMAKE_ARGS"), remembered(environment)
    if given is None and kept.exists() and BACKEND.search(chosen := kept.read_text(encoding="utf-8")):
        return f"{BASE_CMAKE_ARGS} {chosen.strip()}"
    return " ".join([BASE_CMAKE_ARGS, *cuda_args(given or ""), given or ""]).strip()


def remembered(environment: Path) -> Path:
    return environment / "layertune.cmake_args"


def cuda_args(given: str) -> list[str]:
    """Return what a CUDA build needs; nothing where the user chose another backend, or where CUDA could not be run.

    Raises:
        SystemExit: an NVIDIA driver is here, nvcc is not, and the user chose no backend.
    """
    named, found = BACKEND.search(given), nvcc()
    if named is not None:
        return [] if found is None or named[1] != "CUDA" or named[2] == "OFF" else for_this_card(found)
    if not has_nvidia_driver():
        return []
    if found is None:
        raise SystemExit(NO_NVCC.format(folders=" or ".join(map(str, CUDA_FOLDERS))))
    return ["-DGGML_CUDA=ON", *for_this_card(found)]


def nvcc() -> str | None:
    """Return CUDA's compiler: of the PATH, else of NVIDIA's packages."""
    return shutil.which("nvcc") or next(filter(None, (shutil.which("nvcc", path=str(at)) for at in CUDA_FOLDERS)), None)


def for_this_card(found: str) -> list[str]:
    """Return the flags that name CUDA's compiler and this machine's cards; all cards take several times as long.

    Naming the cards' compute capability also keeps one machine's wheel from being used after its card was replaced.
    """
    compiler_flag = [] if shutil.which("nvcc") else [f"-DCMAKE_CUDA_COMPILER={found}"]
    capabilities = compute_capabilities()
    return [*compiler_flag, *([f"-DCMAKE_CUDA_ARCHITECTURES={';'.join(capabilities)}"] if capabilities else [])]


def compute_capabilities() -> list[str]:
    """Return the cards' compute capabilities as CMake writes them, like 89; none if nvidia-smi does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=compute_cap", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return sorted(
        {line.strip().replace(".", "") for line in answer.splitlines() if re.fullmatch(r"\d+\.\d", line.strip())}
    )


def has_nvidia_driver() -> bool:
    """Say whether a CUDA build could even be imported here: it links to the driver's libcuda."""
    found = ctypes.util.find_library("cuda") or shutil.which("nvidia-smi")
    return bool(found) or any(library.exists() for library in DRIVER_LIBRARIES)


def create_venv(folder: Path) -> Path:
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        say(f"creating {folder}")
        venv.create(folder, with_pip=True)
    return python


def llama_wheel(python: Path, cmake_args: str) -> Path:
    """Return the compiled wheel of the pinned llama-cpp-python, building it if the cache has none."""
    pinned = re.search(r"^llama-cpp-python==\S+", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    if pinned is None:
        raise SystemExit(f"{REQUIREMENTS.name} pins no llama-cpp-python")
    key = fingerprint(cmake_args, pinned[0].encode(), compiler().encode(), processor().encode())[:16]
    folder = cache_folder() / "wheels" / key
    found = next(folder.glob("llama_cpp_python-*.whl"), None)
    if found is not None:
        return found
    if compiler() == "":
        raise SystemExit("no C++ compiler found; install one (Debian and Ubuntu: apt install g++) and run make again")
    say(f"compiling {pinned[0]} with CMAKE_ARGS='{cmake_args}' ({how_long(cmake_args)}; once per machine)")
    building = folder.with_name(f"{key}.{os.getpid()}")
    environment = {**os.environ, "CMAKE_ARGS": cmake_args}
    pip(python, "wheel", "--quiet", "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python",
        "--wheel-dir", str(building), pinned[0], environment=environment)  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return next(folder.glob("llama_cpp_python-*.whl"))


def how_long(cmake_args: str) -> str:
    if re.search(r"GGML_CUDA=(?!OFF)", cmake_args) is None:
        return "about 6 minutes on two cores"
    return "CUDA takes much longer than the 6 minutes of a CPU build on two cores, and prints nothing until the end"


def pip(python: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, env=environment, check=False)
    if result.returncode != 0:
        raise SystemExit(f"failed: pip {' '.join(arguments)}")


def compiler() -> str:
    """Return the C++ compiler's version line, or an empty string where there is none."""
    name = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++", "cl")), None)
    if name is None:
        return ""
    said = subprocess.run([name, "--version"], capture_output=True, check=False).stdout
    return said.decode(errors="replace").partition("\n")[0]


def processor() -> str:
    """Return what `-march=native` depends on: a wheel built for one processor may not run on another."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return f"{platform.machine()} {platform.processor()}"


def cache_folder() -> Path:
    if os.name == "nt":
        return Path(os.environ["LOCALAPPDATA"]) / "layertune"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layertune"


def fingerprint(text: str, *contents: bytes) -> str:
    digest = hashlib.sha256(text.encode())
    for content in contents:
        digest.update(b"\0" + content)
    return digest.hexdigest()


def say(message: str) -> None:
    print(f"layertune setup: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
