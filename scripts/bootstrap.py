"""Create or update the project's environment; with nothing to do it returns at once. Standard library only.

    python3 scripts/bootstrap.py [--venv .venv]

llama-cpp-python is compiled once per (version, CMAKE_ARGS, compiler, processor) and the wheel is kept in the
user's cache. pip's own wheel cache is not used for it: it does not look at CMAKE_ARGS, so a CPU wheel would
answer for a CUDA one.
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    options = parser.parse_args()
    if sys.version_info[:2] < MIN_PYTHON:
        print(
            f"layertune needs Python 3.11 or newer; this is {platform.python_version()}. Set PYTHON=…", file=sys.stderr
        )
        return 1
    cmake_args = chosen_cmake_args()
    stamp = options.venv / "layertune.stamp"
    wanted = fingerprint(cmake_args, REQUIREMENTS.read_bytes(), (ROOT / "pyproject.toml").read_bytes())
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return 0
    started = time.monotonic()
    if "GGML_CUDA" not in cmake_args and shutil.which("nvcc") and not has_nvidia_driver():
        say("nvcc is here but no NVIDIA driver is: building without CUDA (CMAKE_ARGS=-DGGML_CUDA=ON forces it)")
    python = create_venv(options.venv)
    wheel = llama_wheel(python, cmake_args)
    pip(python, "install", "--quiet", "--force-reinstall", "--no-deps", str(wheel))
    pip(python, "install", "--quiet", "--requirement", str(REQUIREMENTS))
    pip(python, "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    stamp.write_text(wanted, encoding="utf-8")
    say(f"environment ready in {options.venv} after {time.monotonic() - started:.0f} s")
    return 0


def chosen_cmake_args() -> str:
    """Return the user's CMAKE_ARGS after ours, so that theirs win; CUDA is added where it can be built *and* run."""
    given = os.environ.get("CMAKE_ARGS", "")
    backend_named = re.search(r"GGML_(CUDA|VULKAN|METAL|HIP|SYCL|MUSA)=", given)
    cuda = []
    if not backend_named and shutil.which("nvcc") and has_nvidia_driver():
        cuda = ["-DGGML_CUDA=ON"]
    return " ".join([BASE_CMAKE_ARGS, *cuda, given]).strip()


def has_nvidia_driver() -> bool:
    """Say whether a CUDA build could even be imported here: it links to the driver's libcuda."""
    return bool(ctypes.util.find_library("cuda") or shutil.which("nvidia-smi"))


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
    say(f"compiling {pinned[0]} with CMAKE_ARGS='{cmake_args}' (about 6 minutes on two cores; once per machine)")
    building = folder.with_name(f"{key}.{os.getpid()}")
    environment = {**os.environ, "CMAKE_ARGS": cmake_args}
    pip(python, "wheel", "--quiet", "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python",
        "--wheel-dir", str(building), pinned[0], environment=environment)  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return next(folder.glob("llama_cpp_python-*.whl"))


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
