"""The servers under verification: started by layertune, each with its log, or already running."""

import asyncio
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from layertune.devices.emulated.ledger import Ledger
from layertune.devices.emulated.server import CardServer
from layertune.devices.lifetime import bound_command, describe_exit, end, wait
from layertune.devices.target import Target
from layertune.trial.evidence import out_of_memory_line
from layertune.verify.client import Dialect, Endpoint, ModelClient, NotReady, ServerInfo
from layertune.verify.programs import HOST, Program, flags_of_device
from layertune.verify.server_output import as_recorded
from layertune.verify.stack import ServedModel

_START_S = 600.0  # a large model from a slow disk
_POLL_S = 0.1
_END_S = 20.0
# The variable that a server reads its API key from: llama.cpp's common/arg.cpp, llama_cpp/server/settings.py.
_KEY_VARIABLES: Mapping[Dialect, str] = {"llama-server": "LLAMA_API_KEY", "llama_cpp.server": "API_KEY"}
_LOG_BYTES = 64 * 1024
_UNKNOWN_OPTION = "error: invalid argument: "


class ServerFailed(Exception):
    """A server did not start, or has ended. `out_of_memory` is the log line that reports a lack of memory."""

    def __init__(self, why: str, out_of_memory: str | None = None) -> None:
        super().__init__(why)
        self.out_of_memory = out_of_memory


class Servers(Protocol):
    """Gives each model its endpoint. `were_there` is true for servers that were running before."""

    were_there: bool

    def start(self, model: ServedModel) -> Endpoint:
        """Start the server of a model and return its endpoint. Raises ServerFailed, DeviceError."""
        ...

    def confirm(self, name: str) -> None:
        """Raises ServerFailed if this model's server answers but does not use the study's device."""
        ...

    def check(self) -> None:
        """Raises ServerFailed if a server has ended by itself."""
        ...

    def stop(self) -> None:
        """Terminate all servers and return when they have ended."""
        ...


class GivenServers:
    """Servers that were running before, by model. They stay running."""

    were_there = True

    def __init__(self, urls: Mapping[str, str], api_key: str | None = None) -> None:
        self._urls = urls
        self._api_key = api_key

    def start(self, model: ServedModel) -> Endpoint:
        return Endpoint(self._urls[model.name].rstrip("/"), "llama-server", api_key=self._api_key)

    def confirm(self, name: str) -> None:
        """Does nothing: the device of a given server is not known."""

    def check(self) -> None:
        """Does nothing: a server that has ended is noticed by its failed requests."""

    def stop(self) -> None:
        """Does nothing: given servers stay running."""


class OwnServers:
    """Starts one process of `program` for each model.

    Each process has its own process group, so Ctrl-C reaches only layertune, which then ends the servers. They share
    one session, because Linux divides the cores between sessions first (sched(7), autogroup), and the study measured
    its models in one session. On an emulated card each model has its own server of the card.
    """

    were_there = False

    def __init__(
        self,
        program: Program,
        target: Target,
        gpu: str | None,
        ledger: Ledger | None,
        api_key: str | None = None,
    ) -> None:
        self._api_key = api_key
        self._program = program
        self._target = target
        self._gpu = gpu
        self._ledger = ledger
        self._card_servers: dict[str, CardServer] = {}
        self._processes: dict[str, _Process] = {}

    def start(self, model: ServedModel) -> Endpoint:
        rpc_endpoint = None
        if self._ledger is not None:
            # The card's servers share its ledger, so their memory counts against one limit.
            number, n_threads = len(self._card_servers), self._target.n_threads or 1
            card_server = CardServer(self._ledger, number, n_threads, own_group=True)
            self._card_servers[model.name] = card_server
            rpc_endpoint = card_server.endpoint
        # The random suffix distinguishes this server from an orphan of an earlier run on the same port.
        alias, port = f"{model.name}-{secrets.token_hex(4)}", _free_port()
        pinned = any(flag.option == "device" for flag in model.flags)  # of the study's GPU: serve what is exported
        device = [] if pinned else flags_of_device(self._target, self._gpu, rpc_endpoint)
        command, dialect = self._program.command(model, alias, port, device), self._program.dialect
        try:
            self._processes[model.name] = _Process(model, command, dialect, self._api_key)
        except OSError as error:
            raise ServerFailed(f"the server of {model.name} cannot be started: {error}") from error
        return Endpoint(f"http://{HOST}:{port}", dialect, alias, self._api_key)

    def confirm(self, name: str) -> None:
        if self._ledger is None:
            return
        if self._ledger.n_queries(list(self._card_servers).index(name)) == 0:
            raise ServerFailed(f"the server of {name} did not use the emulated card: start it from the export")

    def check(self) -> None:
        for process in self._processes.values():
            process.check()

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.close(_END_S)

    def close(self) -> None:
        """Kill all servers immediately."""
        for process in self._processes.values():
            process.close(0.0)
        for card_server in self._card_servers.values():
            card_server.close()


async def answering(client: ModelClient, check: Callable[[], None]) -> ServerInfo:
    """Wait until a server answers, and return what it reports about itself.

    Raises:
        ServerFailed: it ended, does not answer in time, or another server answers.
        BadResponse: it refuses to answer, for example without its API key.
    """
    deadline_s = time.monotonic() + (_START_S if client.endpoint.alias is not None else 0.0)
    while True:
        check()
        try:
            about = await client.about()
        except NotReady as error:
            if time.monotonic() >= deadline_s:
                raise ServerFailed(str(error)) from error
            await asyncio.sleep(_POLL_S)
            continue
        if client.endpoint.alias not in (None, about.alias):
            raise ServerFailed(f"{client.endpoint.url} is answered by another server, {about.alias}: run it again")
        return about


class _Process:
    def __init__(self, model: ServedModel, command: Sequence[str], dialect: Dialect, api_key: str | None) -> None:
        self._api_key = api_key
        self._name = model.name
        self._file = model.file
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        # A user's LLAMA_ARG_… would change settings that the export does not set; an abort must not start a debugger.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_ARG_")}
        inherited.pop(_KEY_VARIABLES[dialect], None)
        key = {} if api_key is None else {_KEY_VARIABLES[dialect]: api_key}
        self._process = subprocess.Popen(
            bound_command(command),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=inherited | key | {"GGML_NO_BACKTRACE": "1"},
            process_group=0,
        )

    def check(self) -> None:
        status = self._process.poll()
        if status is None:
            return
        lines = self._lines()
        last_line = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        # After it, llama-server prints how to see its options (common/arg.cpp).
        unknown = next((line.strip() for line in lines if line.startswith(_UNKNOWN_OPTION)), None)
        explained = "" if unknown is None else ": it is older or newer than the llama.cpp that the study measured"
        raise ServerFailed(
            f"the server of {self._name} ended with {describe_exit(status)}; its last output: "
            f"{last_line if unknown is None else unknown}{explained}",
            out_of_memory_line(lines),
        )

    def terminate(self) -> None:
        self._process.terminate()

    def close(self, patience_s: float) -> None:
        if wait(self._process, patience_s) is None:
            end(self._process)
        self._log.close()

    def _lines(self) -> list[str]:
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - _LOG_BYTES))
        output = self._log.read().decode(errors="replace")
        output = output.replace(str(self._file), self._file.name)  # the path may contain spaces
        return as_recorded(output, self._api_key).splitlines()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
