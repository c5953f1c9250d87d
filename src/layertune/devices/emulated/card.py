"""The emulated card as a worker opens it: one server process per model, reached through llama.cpp's RPC backend."""

from collections.abc import Sequence

from layertune.devices.emulated.ledger import Ledger
from layertune.devices.emulated.server import CardServer
from layertune.engine import ggml, library
from layertune.errors import DeviceError


class EmulatedCard:
    """A card shared by `model_names`, one server each. Close it after the models."""

    def __init__(self, ledger: Ledger, model_names: Sequence[str], n_threads: int) -> None:
        """Raises DeviceError where a server does not start or is not this card's, BuildError without RPC."""
        library.load()
        self._ledger = ledger
        self._servers: list[CardServer] = []
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
        for server in self._servers:
            server.close()

    def _start(self, server: int, n_threads: int) -> ggml.DeviceHandle:
        self._servers.append(CardServer(self._ledger, server, n_threads))
        endpoint = self._servers[-1].endpoint
        queries_before = self._ledger.n_queries(server)
        device = ggml.add_rpc_server(endpoint)
        if device is None:
            raise DeviceError("the emulated card's server offers no device", remedy="run layertune doctor")
        ggml.memory(device)
        if self._ledger.n_queries(server) == queries_before:
            raise DeviceError(f"{endpoint} is answered by a server that is not this card's", remedy="run it again")
        return device
