"""The emulated card as a worker uses it: one server process per model, behind llama.cpp's RPC backend."""

from collections.abc import Sequence

from layertune.devices.emulated.ledger import Ledger
from layertune.devices.emulated.server import CardServer
from layertune.engine import ggml, library
from layertune.errors import DeviceError


class EmulatedCard:
    """An emulated card that several models share, with one server for each. Close the models first."""

    def __init__(self, ledger: Ledger, model_names: Sequence[str], n_threads: int) -> None:
        """Start the servers.

        Args:
            ledger: The card's ledger.
            model_names: The models that share the card.
            n_threads: The threads that each server computes with.

        Raises:
            DeviceError: a server does not start, or another server answers at its address.
            BuildError: llama.cpp was built without RPC.
        """
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
        """Return the device of the model's server."""
        return [self._devices[model]]

    def settle(self) -> None:
        """Wait until every server has completed its requests.

        A free has no reply over RPC, so each server is sent a memory query, which it answers afterwards.
        """
        for device in self._devices.values():
            ggml.memory(device)

    def close(self) -> None:
        """End the servers."""
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
            raise DeviceError(f"another card's server answers at {endpoint}", remedy="run it again")
        return device
