"""One server process of an emulated card, for whoever will be its client."""

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

# GNU OpenMP's threads spin for milliseconds after a graph, on the core that the host's next layers need: where cores
# are few, a split model's rates scatter. Microseconds of it are enough to bridge the gaps between a graph's operations.
_SHORT_SPIN = {"GOMP_SPINCOUNT": "5000"}


class CardServer:
    """Serves its share of a card at `endpoint`, to one client process at a time; it dies with this process.

    Start it from the main thread (`devices.lifetime`), and close it after its client.
    """

    def __init__(self, ledger: Ledger, server: int, n_threads: int, *, own_group: bool = False) -> None:
        """`server` numbers the card's servers in its ledger. With `own_group` a terminal's Ctrl-C does not reach it,
        and its words do not reach the terminal; a trial's worker and its servers are one group, which ends as one and
        has one log.

        Raises:
            DeviceError: it does not start.
        """
        # The port stays bound here, not listening, until the server listens on it: nobody else can take it meanwhile.
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
                    stdout=subprocess.DEVNULL,  # llama.cpp's RPC server talks there; the rest goes to standard error
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
            f"the emulated card's server did not start{self._last_words()}", remedy="ask layertune doctor"
        )

    def _last_words(self) -> str:
        if self._log is None:
            return ""  # they are in the log of its trial
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"; it last said: {lines[-1]}" if lines else ""


def main(arguments: list[str]) -> int:
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
    # serve_rpc returns only where the port cannot be opened; skip exit handlers, llama.cpp's threads may be running.
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
