"""Servers as processes: real ones, of a program that is a few lines of Python."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from layertune.devices.target import Target
from layertune.export.flags import Flag
from layertune.verify.client import BadResponse, Dialect, Endpoint, ModelClient, open_http
from layertune.verify.servers import GivenServers, OwnServers, ServerFailed, answering
from layertune.verify.stack import ServedModel
from played import stack

CPU = Target("cpu", "CPU")
CHAT = stack().models["chat"]
SERVES = """
import sys, time
from pathlib import Path
from layertune.testing import FakeServer
from layertune.testing import fake_server
alias, port = sys.argv[1:]
class Handler(fake_server._Handler):
    server_is = FakeServer(alias)
fake_server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""
ENDS = "import sys; print('loading', flush=True); sys.stderr.write({words!r}); sys.exit(3)"


@dataclass(frozen=True)
class Script:
    """A program that a line of Python stands for."""

    code: str
    words: str = "script"
    dialect: Dialect = "llama-server"

    def command(self, model: ServedModel, alias: str, port: int, device: Sequence[Flag]) -> list[str]:
        return [sys.executable, "-c", self.code, alias, str(port)]

    def cannot_take(self, model: ServedModel) -> list[str]:
        return []


@pytest.fixture
def children() -> Iterator[list[psutil.Process]]:
    """The processes that a test has started, which must be gone at its end."""
    before = psutil.Process().children()
    started: list[psutil.Process] = []
    yield started
    assert [child for child in psutil.Process().children() if child not in before and child.is_running()] == []


def wait_for(servers: OwnServers, endpoint: Endpoint) -> str:
    async def run() -> str:
        async with open_http() as http:
            return (await answering(ModelClient(http, endpoint), servers.check)).alias

    return asyncio.run(run())


def test_an_unknown_option_is_named_and_explained(children: list[psutil.Process]) -> None:
    printed = "error: invalid argument: --load-mode\n\nto show complete usage, run with -h\n"
    script = Script(ENDS.format(words=printed))
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(CHAT))
    assert str(raised.value) == (
        "the server of chat ended with exit status 3; its last output: error: invalid argument: --load-mode: it is "
        "older or newer than the llama.cpp that the study measured"
    )


def test_the_exported_gpu_is_the_one_that_serves(children: list[psutil.Process]) -> None:
    seen: list[list[str]] = []

    class Recorded(Script):
        def command(self, model: ServedModel, alias: str, port: int, device: Sequence[Flag]) -> list[str]:
            seen.append([flag.value for flag in device])
            return super().command(model, alias, port, device)

    pinned = replace(CHAT, name="pinned", flags=(*CHAT.flags, Flag("device", "CUDA1")))
    gpu = Target("gpu", "RTX", vram_bytes=1, gpu_index=0)
    with closing(OwnServers(Recorded("pass"), gpu, "CUDA0", None)) as servers:
        servers.start(CHAT)
        servers.start(pinned)
    assert seen == [["CUDA0"], []]


def test_a_started_server_answers_by_a_unique_name(children: list[psutil.Process]) -> None:
    with closing(OwnServers(Script(SERVES), CPU, None, None)) as servers:
        first = servers.start(CHAT)
        assert wait_for(servers, first) == first.alias
        assert first.alias is not None
        assert first.alias.startswith("chat-")
        servers.stop()


def test_a_server_that_ended_is_reported_with_its_last_output(children: list[psutil.Process]) -> None:
    script = Script(ENDS.format(words="error: no such model\n\n"))
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(CHAT))
    assert str(raised.value) == "the server of chat ended with exit status 3; its last output: error: no such model"
    assert raised.value.out_of_memory is None


def test_the_folders_of_the_model_are_not_reported(children: list[psutil.Process]) -> None:
    model = replace(CHAT, file=Path("/srv/my models/chat.gguf"))
    script = Script(ENDS.format(words=f"/opt/bin/server: cannot open '{model.file}', see http://a/b/c\n"))
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(model))
    assert str(raised.value).endswith("its last output: server: cannot open 'chat.gguf', see http://a/b/c")


def test_out_of_memory_is_found_in_the_servers_log(children: list[psutil.Process]) -> None:
    words = "ggml: unable to allocate RPC0 buffer\nfailed to load the model\n"
    script = Script(ENDS.format(words=words))
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(CHAT))
    assert raised.value.out_of_memory == "ggml: unable to allocate RPC0 buffer"


def test_a_server_that_ignores_sigterm_is_killed(children: list[psutil.Process]) -> None:
    deaf = Script("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    with closing(OwnServers(deaf, CPU, None, None)) as servers:
        servers.start(CHAT)


def test_environment_variables_of_the_user_change_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "7")
    script = Script("import os, sys; sys.exit('LLAMA_ARG_CTX_SIZE' in os.environ and 9)")
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed, match="exit status 0"):
        wait_for(servers, servers.start(CHAT))


def test_a_given_server_that_does_not_answer_fails_at_once() -> None:
    given = GivenServers({"chat": "http://127.0.0.1:9/"})
    endpoint = given.start(CHAT)
    assert endpoint.url == "http://127.0.0.1:9"

    async def run() -> None:
        async with open_http() as http:
            await answering(ModelClient(http, endpoint), given.check)

    with pytest.raises(ServerFailed, match="does not answer"):
        asyncio.run(run())


NEEDS_KEY = SERVES.replace("FakeServer(alias)", "FakeServer(alias, api_key=__import__('os').environ['LLAMA_API_KEY'])")


def test_a_started_server_has_the_api_key_of_the_requests(
    children: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "another")
    with closing(OwnServers(Script(NEEDS_KEY), CPU, None, None, "k3y")) as servers:
        endpoint = servers.start(CHAT)
        assert wait_for(servers, endpoint) == endpoint.alias
        servers.stop()


def test_without_an_api_key_the_server_does_not_inherit_one(
    children: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "another")
    script = Script("import os, sys; sys.exit('LLAMA_API_KEY' in os.environ and 9)")
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed, match="exit status 0"):
        wait_for(servers, servers.start(CHAT))


def test_a_server_that_wants_another_key_fails_at_once(children: list[psutil.Process]) -> None:
    script = Script(NEEDS_KEY.replace("__import__('os').environ['LLAMA_API_KEY']", "'another'"))
    with (
        closing(OwnServers(script, CPU, None, None, "k3y")) as servers,
        pytest.raises(BadResponse, match="does not accept the API key") as raised,
    ):
        wait_for(servers, servers.start(CHAT))
    assert "k3y" not in str(raised.value)


def test_a_repeated_log_line_contains_no_api_key(children: list[psutil.Process]) -> None:
    script = Script(ENDS.format(words="cannot use k3y with http://u:pw@host/x\n"))
    with closing(OwnServers(script, CPU, None, None, "k3y")) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(CHAT))
    assert str(raised.value).endswith("its last output: cannot use *** with http://***@host/x")
