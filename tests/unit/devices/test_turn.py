"""One search at a time on a device, in the order they came."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from layertune.devices.target import Target
from layertune.devices.turn import DeviceTurn
from layertune.errors import StorageError

CPU = Target("cpu", "CPU")
# Takes the device, says so, and keeps it until its input ends.
CHILD = """
import sys
from pathlib import Path
from layertune.devices.target import Target
from layertune.devices.turn import DeviceTurn
turn = DeviceTurn(Target("cpu", "CPU"), Path(sys.argv[1]))
turn.take(lambda owner: print("waits for", owner, flush=True))
print("measures", flush=True)
sys.stdin.read()
"""


def child(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def taken(folder: Path, device: Target = CPU) -> Iterator[tuple[DeviceTurn, list[str]]]:
    """Take a device; the list is whom it waited for."""
    turn, waited = DeviceTurn(device, folder), list[str]()
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


def test_a_folder_that_cannot_hold_the_locks_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = r"cannot write .*file/devices: Not a directory; set XDG_CACHE_HOME"
    with pytest.raises(StorageError, match=words), taken(tmp_path / "file" / "devices"):
        pass
