"""The emulated card as a worker opens it: one server process per model, reached through llama.cpp's RPC backend."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from layertune.devices.emulated.ledger import Ledger
from layertune.engine import ggml, library
from layertune.errors import DeviceError

_START_TIMEOUT_S = 60.0
_POLL_S = 0.02


class EmulatedCard:
    """A card shared by `model_names`, one server each. Close it after the models."""

    def __init__(self, ledger: Ledger, model_names: Sequence[str], n_threads: int) -> None:
        """Raises DeviceError where a server does not start or is not this card's, BuildError without RPC."""
        library.load()
        self._ledger = ledger
        self._servers: list[subprocess.Popen[bytes]] = []
        self._devices: dict[str, ggml.DeviceHandle] = {}
        try:
            for server, name in enumerate(model_names):
                self._devices[name] = self._start(server, n_threads)
        except BaseException:
            self.close()
            raise

    def devices(self, model: str) -> list[ggml.DeviceHandle]:
        return [self._devices[model]]

    def settle(self) -> None:
        """Return when every server has done what it was told: a free has no reply, a memory query has one."""
        for device in self._devices.values():
            ggml.memory(device)

    def close(self) -> None:
        for process in self._servers:
            process.kill()
        for process in self._servers:
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def _start(self, server: int, n_threads: int) -> ggml.DeviceHandle:
        # The port stays bound here, not listening, until the server listens on it: nobody else can take it meanwhile.
        with socket.socket() as reserved:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            process = self._spawn(server, port, n_threads)
            self._wait_until_listening(process, port)
        queries_before = self._ledger.n_queries(server)
        device = ggml.add_rpc_server(f"127.0.0.1:{port}")
        if device is None:
            raise DeviceError("the emulated card's server offers no device", remedy="run layertune doctor")
        ggml.memory(device)
        if self._ledger.n_queries(server) == queries_before:
            raise DeviceError(f"port {port} is answered by a server that is not this card's", remedy="run it again")
        return device

    def _spawn(self, server: int, port: int, n_threads: int) -> subprocess.Popen[bytes]:
        numbers = (os.getpid(), self._ledger.descriptor, server, port, n_threads)
        process = subprocess.Popen(
            [sys.executable, "-m", "layertune.devices.emulated.server", *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # llama.cpp's RPC server talks there; what matters goes to standard error
            pass_fds=(self._ledger.descriptor,),
        )
        self._servers.append(process)
        return process

    def _wait_until_listening(self, process: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            except OSError:
                time.sleep(_POLL_S)
            else:
                return
        raise DeviceError("the emulated card's server did not start", remedy="see its words above, or layertune doctor")
