"""Children die with their parent, whatever kills it, and can always be ended.

Two independent ways, because neither is enough: the parent holds the write end of the child's standard input, so its
death is an end of file on every system; Linux also signals the child (PR_SET_PDEATHSIG), which works while Python
itself is stuck. A program that is not ours knows neither; `bound_command` gives it the second, which outlives execve(2)
(prctl(2)), so on Linux only.
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

# What a killed process may take to leave. One that waits inside a hung driver leaves when the driver does, if ever.
_END_S = 10.0


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies; call first thing in the child.

    An abort of llama.cpp leaves no core file in the user's folder.

    The signal follows the parent's *thread* that spawned us, so the parent spawns from its main thread. A parent that
    died before this call is noticed by its changed pid.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.name == "posix" and os.getppid() != parent_pid:
        os._exit(1)
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def watch_standard_input(on_line: Callable[[str], None] | None = None) -> None:
    """Hand each line of standard input to `on_line`, and end this process at its end of file."""

    def watch() -> None:
        for line in sys.stdin:
            if on_line is not None:
                on_line(line)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end(process: "subprocess.Popen[bytes]", *, group: bool = False) -> bool:
    """Kill a child of ours, with `group` every process of the group that it leads; return whether it has left."""
    with contextlib.suppress(OSError):
        if group and os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    return wait(process, _END_S) is not None


def wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> int | None:
    """Return the child's return code once it has ended, None where it has not after `timeout_s`."""
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def how_ended(return_code: int) -> str:
    """Return how a child ended, in words: `signal SIGKILL` or `exit status 3`."""
    if return_code >= 0:
        return f"exit status {return_code}"
    try:
        return f"signal {signal.Signals(-return_code).name}"
    except ValueError:  # most real-time signals have no name
        return f"signal {-return_code}"


def bound_command(command: Sequence[str]) -> list[str]:
    """Return the command that runs another program as this process's child for life; start it from the main thread."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-m", "layertune.devices.lifetime", str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> None:
    parent_pid, *command = arguments
    die_with_parent(int(parent_pid))
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
