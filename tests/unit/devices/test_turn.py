"""One search at a time on a device, in the order they came."""

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
from layertune.devices.target import Target
from layertune.devices.turn import DeviceTurn

pytestmark = pytest.mark.usefixtures("kill_leftovers")

CPU = Target("cpu", "CPU")
# Takes the device, says so, and keeps it until its input ends.
CHILD = """
import sys
from pathlib import Path
from layertune.devices.target import Target
from layertune.devices.turn import DeviceTurn
turn = DeviceTurn(Target("cpu", "CPU"), Path(sys.argv[1]), warn=print)
turn.take(lambda owner: print("waits for", owner, flush=True))
print("measures", flush=True)
sys.stdin.read()
"""


def child(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def fail(words: str) -> None:
    raise AssertionError(words)


def is_locked(folder: Path) -> bool:
    """Say whether who opens the lock file now finds the device taken."""
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
def taken(folder: Path, device: Target = CPU) -> Iterator[tuple[DeviceTurn, list[str]]]:
    """Take a device; the list is whom it waited for."""
    turn, waited = DeviceTurn(device, folder, warn=fail), list[str]()
    turn.take(waited.append)
    try:
        yield turn, waited
    finally:
        turn.give()


def test_a_device_that_is_free_is_taken_without_waiting_and_may_be_taken_again(tmp_path: Path) -> None:
    with taken(tmp_path) as (turn, waited):
        turn.take(waited.append)
        assert waited == []
        assert not turn.is_wanted()
    with taken(tmp_path) as (_, waited):
        assert waited == []


def test_who_waits_is_told_whose_turn_it_is_and_comes_next(tmp_path: Path) -> None:
    with taken(tmp_path) as (turn, _), child(tmp_path) as other:
        assert next_line(other) == f"waits for process {os.getpid()}"
        while not turn.is_wanted():
            time.sleep(0.01)
        turn.give()
        assert next_line(other) == "measures"
        assert not turn.is_wanted()
        other.communicate("")
    with taken(tmp_path) as (_, waited):
        assert waited == []


def test_a_killed_owner_s_device_is_free(tmp_path: Path) -> None:
    with child(tmp_path) as other:
        assert next_line(other) == "measures"
        other.kill()
    with taken(tmp_path) as (_, waited):
        assert waited == []


def test_devices_that_do_not_share_a_processor_are_taken_at_once(tmp_path: Path) -> None:
    cards = [Target("gpu", "RTX", 2**32, 0, "0000:01:00.0"), Target("gpu", "RTX", 2**32, 1), CPU]
    with ExitStack() as all_of_them:
        for card in cards:
            _, waited = all_of_them.enter_context(taken(tmp_path, card))
            assert waited == []
    assert {path.name for path in tmp_path.glob("*.lock")} == {"gpu-0000-01-00.0.lock", "gpu-1.lock", "processor.lock"}


def measure_badly(folder: Path) -> None:
    assert is_locked(folder)
    raise ValueError("measured")


def test_a_device_is_given_back_whatever_is_done_with_it(tmp_path: Path) -> None:
    turn = DeviceTurn(CPU, tmp_path, warn=fail)
    with pytest.raises(ValueError, match="measured"), turn.held(fail):
        measure_badly(tmp_path)
    assert not is_locked(tmp_path)


def test_whose_lock_file_was_removed_takes_the_device_again(tmp_path: Path) -> None:
    with taken(tmp_path) as (turn, waited):
        (tmp_path / "processor.lock").unlink()
        assert turn.is_wanted()
        turn.give()
        turn.take(waited.append)
        assert waited == []
        assert not turn.is_wanted()
        assert is_locked(tmp_path)


def test_who_waited_for_a_lock_file_that_was_removed_takes_the_one_that_others_find(tmp_path: Path) -> None:
    with taken(tmp_path) as (turn, _), child(tmp_path) as other:
        assert next_line(other).startswith("waits for")
        (tmp_path / "processor.lock").unlink()
        turn.give()
        assert next_line(other) == "measures"
        assert is_locked(tmp_path)
        other.communicate("")


def without_locks(folder: Path) -> None:
    warnings: list[str] = []
    turn = DeviceTurn(CPU, folder, warn=warnings.append)
    for _ in range(2):
        turn.take(fail)
        assert not turn.is_wanted()
        turn.give()
    (warning,) = warnings
    assert warning.startswith(f"no lock in {folder}: ")


def test_where_no_lock_can_be_had_the_device_is_taken_with_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    without_locks(tmp_path / "file" / "devices")


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is of POSIX")
def test_a_file_system_without_locks_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    without_locks(tmp_path)


def test_several_gpus_are_taken_all_and_whoever_uses_one_of_them_waits(tmp_path: Path) -> None:
    first, second, third = (
        Target("gpu", "GPU", gpu_index=index, pci_bus_id=f"0000:0{index}:00.0") for index in (0, 1, 2)
    )
    with taken(tmp_path, Target.together([second, first])):
        names = {path.name for path in tmp_path.glob("*.lock")}
        assert names == {"gpu-0000-00-00.0.lock", "gpu-0000-01-00.0.lock"}
        with taken(tmp_path, third) as (_, waited):
            assert waited == []


def test_several_emulated_cards_compute_with_the_one_processor(tmp_path: Path) -> None:
    card = Target("emulated", "emulated card", vram_bytes=1, n_threads=1)
    with taken(tmp_path, Target.together([card, card])) as (turn, waited):
        assert waited == []
        assert not turn.is_wanted()
        assert is_locked(tmp_path)
