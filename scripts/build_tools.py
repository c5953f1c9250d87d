"""Build llama-bench, llama-fit-params, llama-perplexity and llama-server from the source of the pinned
llama-cpp-python: the same llama.cpp, so that versions and the RPC protocol match. They are built once per machine,
into the user's cache, and build/tools, which git ignores, is a link to them. Peers are measured, and the plan and the
quality of files are checked, with them; layertune itself never needs them.

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

from bootstrap import (
    REQUIREMENTS,
    ROOT,
    cache_folder,
    chosen_cmake_args,
    compiler,
    create_venv,
    fingerprint,
    how_long,
    pip,
    processor,
    say,
)

TOOLS = ("llama-bench", "llama-fit-params", "llama-perplexity", "llama-server")
LINK = ROOT / "build" / "tools"
CMAKE_ARGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON",  # so that the folder of the programs can be moved
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    environment = parser.parse_args().venv
    python = create_venv(environment)
    pinned = re.search(r"^llama-cpp-python==\S+", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    if pinned is None:
        raise SystemExit(f"{REQUIREMENTS.name} pins no llama-cpp-python")
    arguments = [*chosen_cmake_args(environment).split(), *CMAKE_ARGS]
    key = fingerprint(" ".join([pinned[0], *arguments, compiler(), processor()]))[:16]
    built = cache_folder() / "tools" / key
    if not all((built / "bin" / tool).exists() for tool in TOOLS):
        started = time.monotonic()
        say(f"building {', '.join(TOOLS)} of {pinned[0]} ({how_long(' '.join(arguments))}; once per machine)")
        build(python, pinned[0], arguments, built)
        say(f"tools ready in {LINK.relative_to(ROOT) / 'bin'} after {time.monotonic() - started:.0f} s")
    link(built)


def build(python: Path, pinned: str, arguments: list[str], target: Path) -> None:
    """Compile the tools and leave their folder `bin`, and nothing else of the build, in `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        source, made = unpack(python, pinned, Path(folder)), Path(folder) / "build"
        log = target.with_suffix(".log")
        run(log, cmake(python), "-S", str(source), "-B", str(made), *arguments)
        run(log, cmake(python), "--build", str(made), "--parallel", str(os.cpu_count() or 1), "--target", *TOOLS)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        (made / "bin").rename(target / "bin")


def link(built: Path) -> None:
    if LINK.is_symlink() and LINK.readlink() == built:
        return
    if LINK.is_symlink():
        LINK.unlink()
    elif LINK.exists():
        shutil.rmtree(LINK)
    LINK.parent.mkdir(exist_ok=True)
    LINK.symlink_to(built, target_is_directory=True)


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


def run(log: Path, *command: str) -> None:
    with log.open("ab") as file:
        if subprocess.run(command, stdout=file, stderr=file, check=False).returncode != 0:
            raise SystemExit(f"failed: {' '.join(command)}; see {log}")


if __name__ == "__main__":
    main()
