"""One server process of an emulated card: `CardServer` starts it as `python -m layertune.devices.emulated.server`."""

import os
import socket
import subprocess
import sys
import tempfile
import time

from layertune.devices import lifetime
from layertune.devices.emulated.ledger import Ledger
from layertune.errors import DeviceError, LayertuneError

_START_TIMEOUT_S = 60.0
_POLL_S = 0.02

# GNU OpenMP's threads spin for milliseconds after a graph, on cores that the host's next layers need. With few cores,
# this makes the speeds of a split model vary. A spin of microseconds is long enough between the operations of a graph.
_SHORT_SPIN = {"GOMP_SPINCOUNT": "5000"}


class CardServer:
    """A server of a card at `endpoint`, for one client process at a time. It dies with this process.

    Start it from the main thread (`devices.lifetime`), and close its client first.
    """

    def __init__(self, ledger: Ledger, server: int, n_threads: int, *, own_group: bool = False) -> None:
        """Start the server and wait until it listens.

        Args:
            ledger: The card's ledger.
            server: The server's number in the ledger.
            n_threads: The threads that it computes with.
            own_group: Give the server a process group and a log of its own. Then a terminal's Ctrl-C does not reach it,
                and its output is kept apart. By default it shares the log and the group of the trial's
                worker, and the group is killed as a whole.

        Raises:
            DeviceError: it does not start.
        """
        # The port stays bound here until the server listens on it, so that no other program can take it meanwhile.
        with socket.socket() as reserved:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            self._log = tempfile.TemporaryFile() if own_group else None  # noqa: SIM115
            numbers = (os.getpid(), ledger.descriptor, server, port, n_threads)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "layertune.devices.emulated.server", *map(str, numbers)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,  # llama.cpp's RPC server prints there; all else goes to standard error
                    stderr=self._log,
                    pass_fds=(ledger.descriptor,),
                    process_group=0 if own_group else None,
                    env=_SHORT_SPIN | os.environ,
                )
            except OSError as error:
                raise DeviceError(f"the emulated card's server did not start: {error}", remedy="try again") from error
            try:
                self._wait_until_listening(port)
            except BaseException:
                self.close()
                raise
        self.endpoint = f"127.0.0.1:{port}"

    def close(self) -> None:
        """Kill the server."""
        lifetime.end(self._process)
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._log is not None:
            self._log.close()

    def _wait_until_listening(self, port: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            except OSError:
                time.sleep(_POLL_S)
            else:
                return
        raise DeviceError(
            f"the emulated card's server did not start{self._last_log_line()}", remedy="run layertune doctor"
        )

    def _last_log_line(self) -> str:
        if self._log is None:
            return ""  # its output is in the log of the trial
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"; its last output was: {lines[-1]}" if lines else ""


def main(arguments: list[str]) -> int:
    """Serve a card.

    Args:
        arguments: The parent's process id, the ledger's descriptor, the server's number, the port and the number of
            threads.
    """
    from layertune.devices.emulated.backend import CardBackend
    from layertune.engine import ggml, library

    parent_pid, descriptor, server, port, n_threads = (int(argument) for argument in arguments)
    lifetime.die_with_parent(parent_pid)
    lifetime.watch_standard_input()
    try:
        library.load()
        backend = CardBackend(Ledger(descriptor), server)
        backend.install()
        ggml.serve_rpc(f"127.0.0.1:{port}", backend.device, n_threads)
    except LayertuneError as error:
        sys.stderr.write(f"{error}\n")
    # serve_rpc returns only if the port cannot be opened. Skip exit handlers, since llama.cpp's threads may still run.
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
