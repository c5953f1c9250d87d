"""The demo pair and the emulated card, for the tests that run real llama.cpp; what every test process starts with."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

import skips

MODELS = Path(__file__).parent.parent / "models"

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

# Read by llama.cpp and the processes that tests start: an abort must not start a debugger.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

# A background job of a shell, `nohup` and some CI systems ignore these signals, and every child would inherit that.
# A signal with a handler is set back to its default action in a child.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the skipped tests that CI does not accept (see `skips`)."""
    for line in skips.refused(terminalreporter):
        terminalreporter.write_line(line, red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when CI does not accept one of its skipped tests."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.exitstatus == pytest.ExitCode.OK and reporter is not None and skips.refused(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def kill_leftovers() -> Iterator[None]:
    """Kill every process that a test started and left running, whatever the test's outcome."""
    us = psutil.Process()
    before = set(us.children(recursive=True))
    yield
    left = [child for child in us.children(recursive=True) if child not in before]
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=10)


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
