"""Loads llama.cpp, and finds its libraries. No other module loads it."""

import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from layertune.engine.logs import LogCapture
from layertune.errors import BuildError
from layertune.models.disk_cache import unchanged_key

# Loading a library again under another file name creates a second device registry. So the libraries are opened under
# the names that libllama itself links to.
_FILE_NAMES = {
    "posix": "lib{name}.so.0",
    "darwin": "lib{name}.0.dylib",
    "nt": "{name}.dll",
}


@cache
def load() -> ModuleType:
    """Load llama.cpp, start its backends and capture its log; return the `llama_cpp` module.

    Raises:
        BuildError: llama-cpp-python is not installed or its library does not load here.
    """
    # ggml would start a debugger on abort, which can hang for minutes (ggml.c, ggml_print_backtrace).
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise BuildError(
            f"llama-cpp-python does not load: {error}",
            remedy="install it with: pip install --force-reinstall --no-cache-dir llama-cpp-python",
        ) from error
    log().install(llama_cpp)  # after the import, which installs a callback of its own
    llama_cpp.llama_backend_init()
    module: ModuleType = llama_cpp
    return module


@cache
def log() -> LogCapture:
    """Return this process's capture of llama.cpp's log. llama.cpp has one log callback for all models."""
    return LogCapture()


def library_folder() -> Path | None:
    """Return the folder of llama.cpp's libraries without loading them; None if llama-cpp-python is not installed."""
    if "LLAMA_CPP_LIB_PATH" in os.environ:  # llama-cpp-python's own variable
        return Path(os.environ["LLAMA_CPP_LIB_PATH"])
    spec = find_spec("llama_cpp")
    return Path(spec.origin).parent / "lib" if spec is not None and spec.origin is not None else None


def library_path(name: str) -> Path:
    """Return the path of one of llama.cpp's libraries, like `"ggml-rpc"`. Not every build has every library."""
    folder = library_folder() or Path()
    platform = "darwin" if sys.platform == "darwin" else os.name
    return folder / _FILE_NAMES[platform].format(name=name)


def has_rpc() -> bool:
    """Return whether this build has llama.cpp's RPC backend, without loading it."""
    return library_path("ggml-rpc").exists()


def has_cuda() -> bool:
    """Return whether this build has llama.cpp's CUDA backend, without loading it."""
    return library_path("ggml-cuda").exists()


def rebuild(flag: str, *, windows: bool = os.name == "nt") -> str:
    """Return the command that builds llama-cpp-python with a CMake flag, for this system's shell (PowerShell or sh)."""
    set_flag = f'$env:CMAKE_ARGS="{flag}";' if windows else f'CMAKE_ARGS="{flag}"'
    return f"{set_flag} pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"


def library_key() -> str:
    """Return a key that differs between builds of llama.cpp: its libraries' paths, sizes and modification times.

    Raises:
        BuildError: llama-cpp-python is not installed.
    """
    folder = library_folder()
    if folder is None or not folder.is_dir():
        raise BuildError("llama-cpp-python is not installed", remedy="install it with: pip install llama-cpp-python")
    return unchanged_key(sorted(folder.iterdir()))
