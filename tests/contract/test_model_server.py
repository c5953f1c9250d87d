"""One suite over the fake llama-server and the real one: what the client of `verify` relies on."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import pytest

from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.testing import FakeServer, serving
from layertune.verify.client import Endpoint, ModelClient, open_http
from layertune.verify.requests import Answered, Failed
from served import TOOLS, WITHOUT_GPU, served

T = TypeVar("T")
TINY = KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)


@pytest.fixture(scope="module", params=["fake", "llama-server"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "fake":
        with serving(FakeServer("tiny", n_ctx=256)) as at:
            yield at
        return
    if not (TOOLS / "llama-server").exists():
        pytest.skip("no llama-server here; make tools builds it")
    folder = tmp_path_factory.mktemp("server")
    known_standin(TINY).write(folder / "fake.gguf")
    words = f"{TOOLS / 'llama-server'} --model fake.gguf --alias tiny -c 256 -t 1 --parallel 1 --fit off"
    with served([*words.split(), *WITHOUT_GPU], folder) as server:
        yield f"http://127.0.0.1:{server.port}"


def ask(url: str, question: Callable[[ModelClient], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with open_http() as http:
            return await question(ModelClient(http, Endpoint(url, "llama-server")))

    return asyncio.run(run())


def test_a_server_reports_its_model_and_settings(url: str) -> None:
    about = ask(url, lambda client: client.about())
    assert (about.alias, about.n_ctx, about.n_slots) == ("tiny", 256, 1)
    assert about.file is not None
    assert Path(about.file).name == "fake.gguf"
    assert about.build


def test_a_server_tokenizes_korean_text(url: str) -> None:
    found = ask(url, lambda client: client.prompt_parts("안녕하세요"))
    assert len(found.parts) >= 5
    assert found.per_token == 1.0


def test_a_server_answers_a_chat_request(url: str) -> None:
    assert isinstance(ask(url, lambda client: client.chat("안녕하세요", 4)), str)


def test_a_completion_has_the_requested_number_of_tokens(url: str) -> None:
    outcome = ask(url, lambda client: client.complete([40, 41, 42], 7, perf_counter()))
    assert isinstance(outcome, Answered), outcome
    assert (outcome.n_generated, outcome.n_reused) == (7, 0)


def test_a_repeated_prompt_is_processed_again(url: str) -> None:
    for _ in range(2):
        outcome = ask(url, lambda client: client.complete(list(range(40, 80)), 2, perf_counter()))
        assert isinstance(outcome, Answered), outcome
        assert outcome.n_reused == 0


def test_a_prompt_longer_than_a_slot_is_refused_with_a_message(url: str) -> None:
    outcome = ask(url, lambda client: client.complete([40] * 300, 2, perf_counter()))
    assert isinstance(outcome, Failed)
    assert outcome.why.startswith("status 400: ")
    assert "context" in outcome.why
