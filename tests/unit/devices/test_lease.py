"""The lease of a device: one process at a time, in the order in which they ask."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from layertune.devices.file_lock import lock_file
from layertune.devices.lease import DeviceLease
from layertune.devices.target import Target

pytestmark = pytest.mark.usefixtures("kill_leftovers")

CPU = Target("cpu", "CPU")
# Leases the device, prints so, and keeps it until its input ends.
CHILD = """
import sys
from pathlib import Path
from layertune.devices.target import Target
from layertune.devices.lease import DeviceLease
lease = DeviceLease(Target("cpu", "CPU"), Path(sys.argv[1]), warn=print)
lease.acquire(lambda owner: print("waits for", owner, flush=True))
print("measures", flush=True)
sys.stdin.read()
"""


def child(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def fail(words: str) -> None:
    raise AssertionError(words)


def is_locked(folder: Path) -> bool:
    """Say whether a process that opens the lock file now finds it locked."""
    with (folder / "processor.lock").open("a+") as file:
        try:
            lock_file(file)
        except (BlockingIOError, PermissionError):
            return True
    return False


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def leased(folder: Path, device: Target = CPU) -> Iterator[tuple[DeviceLease, list[str]]]:
    """Lease a device; the list has the processes that it waited for."""
    lease, waited = DeviceLease(device, folder, warn=fail), list[str]()
    lease.acquire(waited.append)
    try:
        yield lease, waited
    finally:
        lease.release()


def test_a_free_device_is_leased_without_waiting_and_can_be_leased_again(tmp_path: Path) -> None:
    with leased(tmp_path) as (lease, waited):
        lease.acquire(waited.append)
        assert waited == []
        assert not lease.is_wanted()
    with leased(tmp_path) as (_, waited):
        assert waited == []


def test_a_waiting_process_learns_the_owner_and_is_next(tmp_path: Path) -> None:
    with leased(tmp_path) as (lease, _), child(tmp_path) as other:
        assert next_line(other) == f"waits for process {os.getpid()}"
        while not lease.is_wanted():
            time.sleep(0.01)
        lease.release()
        assert next_line(other) == "measures"
        assert not lease.is_wanted()
        other.communicate("")
    with leased(tmp_path) as (_, waited):
        assert waited == []


def test_the_lease_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with child(tmp_path) as other:
        assert next_line(other) == "measures"
        other.kill()
    with leased(tmp_path) as (_, waited):
        assert waited == []


def test_devices_that_share_no_hardware_are_leased_at_the_same_time(tmp_path: Path) -> None:
    cards = [Target("gpu", "RTX", 2**32, 0, "0000:01:00.0"), Target("gpu", "RTX", 2**32, 1), CPU]
    with ExitStack() as all_of_them:
        for card in cards:
            _, waited = all_of_them.enter_context(leased(tmp_path, card))
            assert waited == []
    assert {path.name for path in tmp_path.glob("*.lock")} == {"gpu-0000-01-00.0.lock", "gpu-1.lock", "processor.lock"}


def measure_badly(folder: Path) -> None:
    assert is_locked(folder)
    raise ValueError("measured")


def test_the_lease_is_released_when_an_exception_leaves_the_block(tmp_path: Path) -> None:
    lease = DeviceLease(CPU, tmp_path, warn=fail)
    with pytest.raises(ValueError, match="measured"), lease.held(fail):
        measure_badly(tmp_path)
    assert not is_locked(tmp_path)


def test_a_process_whose_lock_file_was_removed_acquires_the_lease_again(tmp_path: Path) -> None:
    with leased(tmp_path) as (lease, waited):
        (tmp_path / "processor.lock").unlink()
        assert lease.is_wanted()
        lease.release()
        lease.acquire(waited.append)
        assert waited == []
        assert not lease.is_wanted()
        assert is_locked(tmp_path)


def test_a_process_that_waits_on_a_removed_lock_file_locks_the_new_one(tmp_path: Path) -> None:
    with leased(tmp_path) as (lease, _), child(tmp_path) as other:
        assert next_line(other).startswith("waits for")
        (tmp_path / "processor.lock").unlink()
        lease.release()
        assert next_line(other) == "measures"
        assert is_locked(tmp_path)
        other.communicate("")


def without_locks(folder: Path) -> None:
    warnings: list[str] = []
    lease = DeviceLease(CPU, folder, warn=warnings.append)
    for _ in range(2):
        lease.acquire(fail)
        assert not lease.is_wanted()
        lease.release()
    (warning,) = warnings
    assert warning.startswith(f"no lock in {folder}: ")


def test_without_locks_the_device_is_used_after_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    without_locks(tmp_path / "file" / "devices")


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is of POSIX")
def test_a_file_system_without_locks_leads_to_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    without_locks(tmp_path)


def test_the_lease_of_several_gpus_locks_each_of_them_and_no_other(tmp_path: Path) -> None:
    first, second, third = (
        Target("gpu", "GPU", gpu_index=index, pci_bus_id=f"0000:0{index}:00.0") for index in (0, 1, 2)
    )
    with leased(tmp_path, Target.composite([second, first])):
        names = {path.name for path in tmp_path.glob("*.lock")}
        assert names == {"gpu-0000-00-00.0.lock", "gpu-0000-01-00.0.lock"}
        with leased(tmp_path, third) as (_, waited):
            assert waited == []


def test_several_emulated_cards_share_the_lease_of_the_processor(tmp_path: Path) -> None:
    card = Target("emulated", "emulated card", vram_bytes=1, n_threads=1)
    with leased(tmp_path, Target.composite([card, card])) as (lease, waited):
        assert waited == []
        assert not lease.is_wanted()
        assert is_locked(tmp_path)
