"""Build llama-bench, llama-fit-params and llama-server from the source of the pinned llama-cpp-python: the same
llama.cpp, so that versions and the RPC protocol match. They land in build/tools/bin, which git ignores. Peers are
measured and the plan is checked with them; layertune itself never needs them.

    python3 scripts/build_tools.py [--venv .venv]
"""

import argparse
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from bootstrap import REQUIREMENTS, ROOT, chosen_cmake_args, compiler, create_venv, fingerprint, pip, processor, say

TOOLS = ("llama-bench", "llama-fit-params", "llama-server")
BUILD = ROOT / "build" / "tools"
CMAKE_ARGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    python = create_venv(parser.parse_args().venv)
    pinned = re.search(r"^llama-cpp-python==\S+", REQUIREMENTS.read_text(), re.MULTILINE)
    if pinned is None:
        raise SystemExit(f"{REQUIREMENTS.name} pins no llama-cpp-python")
    arguments = [*chosen_cmake_args().split(), *CMAKE_ARGS]
    stamp, wanted = BUILD / "layertune.stamp", fingerprint(" ".join([pinned[0], *arguments, compiler(), processor()]))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    started = time.monotonic()
    say(f"building {', '.join(TOOLS)} of {pinned[0]} (about 6 minutes on two cores)")
    with tempfile.TemporaryDirectory() as folder:
        source = unpack(python, pinned[0], Path(folder))
        shutil.rmtree(BUILD, ignore_errors=True)
        run(cmake(python), "-S", str(source), "-B", str(BUILD), *arguments)
        run(cmake(python), "--build", str(BUILD), "--parallel", str(os.cpu_count() or 1), "--target", *TOOLS)
    stamp.write_text(wanted)
    say(f"tools ready in {BUILD.relative_to(ROOT) / 'bin'} after {time.monotonic() - started:.0f} s")


def unpack(python: Path, pinned: str, folder: Path) -> Path:
    """Return the llama.cpp that the source distribution of llama-cpp-python brings."""
    pip(python, "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(folder), pinned)
    with tarfile.open(next(folder.glob("llama_cpp_python-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))


def cmake(python: Path) -> str:
    """Return the machine's cmake, else the environment's, which is installed if need be."""
    found = shutil.which("cmake") or shutil.which("cmake", path=str(python.parent))
    if found is None:
        pip(python, "install", "--quiet", "cmake")
        return str(python.parent / "cmake")
    return found


def run(*command: str) -> None:
    log = BUILD.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        if subprocess.run(command, stdout=file, stderr=file, check=False).returncode != 0:
            raise SystemExit(f"failed: {' '.join(command)}; see {log.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
