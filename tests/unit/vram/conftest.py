import ctypes.util
from pathlib import Path

import pytest

from nvml.driver import Machine, compiler


def install(folder: Path, *, old: bool) -> Machine:
    cc = compiler()
    if cc is None:
        pytest.skip("the fake NVIDIA driver needs Linux and a C compiler")
    return Machine.with_driver(cc, folder, old=old)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with a driver of today."""
    return install(tmp_path_factory.mktemp("driver"), old=False)


@pytest.fixture(scope="session")
def old_machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with a driver that lacks the newer functions."""
    return install(tmp_path_factory.mktemp("old-driver"), old=True)


@pytest.fixture
def bare_machine(tmp_path: Path) -> Machine:
    """A machine without NVIDIA's library."""
    if ctypes.util.find_library("nvidia-ml") is not None:
        pytest.skip("this machine has an NVIDIA driver of its own")
    return Machine(tmp_path)
