"""The demo pair and the emulated card, for the tests that run real llama.cpp."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MODELS = Path(__file__).parent.parent / "models"

# Read by llama.cpp and the processes that tests start: an abort must not start a debugger.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache; commands that tests start inherit this one."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def demo_pair() -> dict[str, Path]:
    """The two real small models of `make models`."""
    pair = {"chat": MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf", "code": MODELS / "gemma-3-270m-q4_k_m.gguf"}
    missing = [path.name for path in pair.values() if not path.exists()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not here; run make models")
    return pair


@pytest.fixture(scope="session")
def needs_rpc() -> None:
    """Skip where no emulated card can run, with the reason."""
    if sys.platform == "win32":
        pytest.skip("the emulated card needs POSIX record locks")
    from layertune.devices.inspection import inspect

    if not inspect().build.supports_rpc:
        pytest.skip("this llama-cpp-python was built without RPC")
