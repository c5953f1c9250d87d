"""The version of the installed llama.cpp, and what it was built with."""

from dataclasses import dataclass
from importlib import metadata

from layertune.engine import ggml, library


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """The version and build options of llama.cpp. Two builds with equal values run a model the same way."""

    llama_cpp_python: str
    version: str
    commit: str
    system_info: str
    supports_rpc: bool


def build_info() -> BuildInfo:
    """Load llama.cpp and return its version and build options.

    Raises:
        BuildError: llama-cpp-python does not load here.
    """
    llama_cpp = library.load()
    return BuildInfo(
        llama_cpp_python=metadata.version("llama-cpp-python"),
        version=ggml.version(),
        commit=ggml.commit(),
        system_info=llama_cpp.llama_print_system_info().decode(errors="replace").strip(" |"),
        supports_rpc=bool(llama_cpp.llama_supports_rpc()) and library.has_rpc(),
    )
