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


def test_a_server_that_is_started_answers_by_a_name_that_only_it_has(children: list[psutil.Process]) -> None:
    with closing(OwnServers(Script(SERVES), CPU, None, None)) as servers:
        first = servers.start(CHAT)
        assert wait_for(servers, first) == first.alias
        assert first.alias is not None
        assert first.alias.startswith("chat-")
        servers.stop()


def test_a_server_that_ends_is_told_with_its_last_words(children: list[psutil.Process]) -> None:
    script = Script(ENDS.format(words="error: no such model\n\n"))
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(CHAT))
    assert str(raised.value) == "the server of chat ended with exit status 3; it last said: error: no such model"
    assert raised.value.out_of_memory is None


def test_where_on_this_machine_the_model_lies_is_not_told(children: list[psutil.Process]) -> None:
    model = replace(CHAT, file=Path("/srv/my models/chat.gguf"))
    script = Script(ENDS.format(words=f"/opt/bin/server: cannot open '{model.file}', see http://a/b/c\n"))
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(model))
    assert str(raised.value).endswith("it last said: server: cannot open 'chat.gguf', see http://a/b/c")


def test_memory_that_was_refused_is_found_in_its_log(children: list[psutil.Process]) -> None:
    words = "ggml: unable to allocate RPC0 buffer\nfailed to load the model\n"
    script = Script(ENDS.format(words=words))
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(CHAT))
    assert raised.value.out_of_memory == "ggml: unable to allocate RPC0 buffer"


def test_a_server_that_does_not_listen_to_reason_is_ended_all_the_same(children: list[psutil.Process]) -> None:
    deaf = Script("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    with closing(OwnServers(deaf, CPU, None, None)) as servers:
        servers.start(CHAT)


def test_a_users_variables_set_nothing_that_the_export_leaves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "7")
    script = Script("import os, sys; sys.exit('LLAMA_ARG_CTX_SIZE' in os.environ and 9)")
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed, match="exit status 0"):
        wait_for(servers, servers.start(CHAT))


def test_a_server_that_was_given_and_does_not_answer_is_not_waited_for() -> None:
    given = GivenServers({"chat": "http://127.0.0.1:9/"})
    endpoint = given.start(CHAT)
    assert endpoint.url == "http://127.0.0.1:9"

    async def run() -> None:
        async with open_http() as http:
            await answering(ModelClient(http, endpoint), given.check)

    with pytest.raises(ServerFailed, match="does not answer"):
        asyncio.run(run())


NEEDS_KEY = SERVES.replace("FakeServer(alias)", "FakeServer(alias, api_key=__import__('os').environ['LLAMA_API_KEY'])")


def test_a_server_that_is_started_has_the_key_that_it_is_asked_with(
    children: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "another")
    with closing(OwnServers(Script(NEEDS_KEY), CPU, None, None, "k3y")) as servers:
        endpoint = servers.start(CHAT)
        assert wait_for(servers, endpoint) == endpoint.alias
        servers.stop()


def test_without_a_key_the_environment_s_is_not_left_to_the_server(
    children: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "another")
    script = Script("import os, sys; sys.exit('LLAMA_API_KEY' in os.environ and 9)")
    with closing(OwnServers(script, CPU, None, None)) as servers, pytest.raises(ServerFailed, match="exit status 0"):
        wait_for(servers, servers.start(CHAT))


def test_a_server_that_wants_another_key_is_not_waited_for(children: list[psutil.Process]) -> None:
    script = Script(NEEDS_KEY.replace("__import__('os').environ['LLAMA_API_KEY']", "'another'"))
    with (
        closing(OwnServers(script, CPU, None, None, "k3y")) as servers,
        pytest.raises(BadResponse, match="does not accept the API key") as raised,
    ):
        wait_for(servers, servers.start(CHAT))
    assert "k3y" not in str(raised.value)


def test_a_log_line_that_is_repeated_has_no_key_in_it(children: list[psutil.Process]) -> None:
    script = Script(ENDS.format(words="cannot use k3y with http://u:pw@host/x\n"))
    with closing(OwnServers(script, CPU, None, None, "k3y")) as servers, pytest.raises(ServerFailed) as raised:
        wait_for(servers, servers.start(CHAT))
    assert str(raised.value).endswith("it last said: cannot use *** with http://***@host/x")
