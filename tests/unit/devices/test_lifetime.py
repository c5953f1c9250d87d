"""A program that is not ours dies with its parent, whatever kills that."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from layertune.devices.lifetime import bound_command

pytestmark = pytest.mark.usefixtures("kill_leftovers")

PARENT = """
import subprocess, sys
from layertune.devices.lifetime import bound_command
child = subprocess.Popen(bound_command(["/bin/sleep", "600"]))
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone signals the child of a dead parent")
def test_a_foreign_program_is_killed_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=10)
    assert alive == []


@pytest.mark.skipif(os.name != "posix", reason="a POSIX program")
def test_a_bound_program_keeps_its_output_and_exit_status() -> None:
    command = bound_command(["/bin/sh", "-c", 'echo "$0 $1"; exit 3', "a b", "$c"])
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (3, "a b $c\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the program is started as it is")
def test_a_missing_program_is_reported_in_one_sentence() -> None:
    answer = subprocess.run(bound_command(["/no/such"]), capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (1, "cannot start /no/such: No such file or directory\n")
