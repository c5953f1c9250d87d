"""Ends child processes, and makes them die with their parent, whatever kills it.

There are two independent ways, because neither is enough alone:

- The parent holds the write end of the child's standard input. If the parent dies, the child reads an end of file.
  This works on every system.
- Linux also kills the child (PR_SET_PDEATHSIG), which works even while Python is stuck.

Other programs do neither. `bound_command` sets the signal for them, which survives execve(2) (prctl(2)).
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

if sys.platform != "win32":
    import resource

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

# Time for a killed process to end. One that waits inside a hung driver ends only with the driver.
_END_S = 10.0


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies. Call it first in the child.

    The signal depends on the parent's *thread* that started this process, so parents start children from the main
    thread. A parent that died before this call is detected by the changed process id. Core files are turned off, so
    that an abort of llama.cpp leaves none in the user's folder.

    Args:
        parent_pid: The process id of the parent, as it passed it to the child.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.name == "posix" and os.getppid() != parent_pid:
        os._exit(1)
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def watch_standard_input(on_line: Callable[[str], None] | None = None) -> None:
    """Pass each line of standard input to `on_line`, and end this process at its end of file, in a thread."""

    def watch() -> None:
        for line in sys.stdin:
            if on_line is not None:
                on_line(line)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end(process: "subprocess.Popen[bytes]", *, group: bool = False) -> bool:
    """Kill a child process, and with `group` all of its process group; return whether it ended within 10 s."""
    with contextlib.suppress(OSError):
        if group and os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    return wait(process, _END_S) is not None


def wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> int | None:
    """Wait for a child to end; return its return code, or None after `timeout_s` seconds."""
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def describe_exit(return_code: int) -> str:
    """Return how a child ended, as words: `signal SIGKILL` or `exit status 3`."""
    if return_code >= 0:
        return f"exit status {return_code}"
    try:
        return f"signal {signal.Signals(-return_code).name}"
    except ValueError:  # a real-time signal without a name
        return f"signal {-return_code}"


def bound_command(command: Sequence[str]) -> list[str]:
    """Return a command that runs another program so that it dies with this process, on Linux only.

    Start it from the main thread.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-m", "layertune.devices.lifetime", str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> None:
    """Run a program in place of this process; the arguments are the parent's process id and the command."""
    parent_pid, *command = arguments
    die_with_parent(int(parent_pid))
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
