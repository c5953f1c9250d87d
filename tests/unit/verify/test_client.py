"""The client against a fake llama-server in this process: streams, and everything that can go wrong with one."""

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, TypeVar

import httpx
import pytest

from layertune.testing import FakeServer, serving
from layertune.testing.fake_server import Mishap
from layertune.verify.client import BadResponse, Dialect, Endpoint, ModelClient, NotReady, open_http
from layertune.verify.requests import Answered, Failed, RequestOutcome

T = TypeVar("T")


def ask(url: str, question: Callable[[ModelClient], Coroutine[Any, Any, T]], patience_s: float = 30.0) -> T:
    async def run() -> T:
        async with open_http() as http:
            client = ModelClient(http, Endpoint(url, "llama-server"))
            client.patience_s = patience_s
            return await question(client)

    return asyncio.run(run())


def complete(fake: FakeServer, n_predict: int = 5, patience_s: float = 30.0) -> RequestOutcome:
    with serving(fake) as url:
        return ask(url, lambda client: client.complete([1, 2, 3], n_predict, perf_counter()), patience_s)


def test_a_stream_is_timed_from_the_call_to_its_last_token() -> None:
    outcome = complete(FakeServer(token_s=0.01))
    assert isinstance(outcome, Answered)
    assert (outcome.n_generated, outcome.n_reused) == (5, 0)
    assert outcome.tpot_s is not None
    assert outcome.ttft_s is not None
    assert 0 < outcome.ttft_s < outcome.duration_s
    assert outcome.ttft_s + 4 * outcome.tpot_s <= outcome.duration_s


def test_an_answer_of_one_token_has_no_time_between_tokens() -> None:
    outcome = complete(FakeServer(), n_predict=1)
    assert isinstance(outcome, Answered)
    assert outcome.tpot_s is None


def test_text_that_a_server_delays_is_no_failure() -> None:
    outcome = complete(FakeServer(token_s=0.01, mishaps={0: "hold all"}))
    assert isinstance(outcome, Answered)
    assert (outcome.n_generated, outcome.ttft_s, outcome.tpot_s) == (5, None, None)
    first = complete(FakeServer(token_s=0.01, mishaps={0: "hold first"}))
    assert isinstance(first, Answered)
    assert (first.n_generated, first.n_first) == (5, 2)


@pytest.mark.parametrize(
    ("mishap", "why"),
    [
        ("refuse", "status 503: Loading model"),
        ("error", "the server reports: Compute error."),
        ("break", "the answer broke off after 1 tokens"),
        ("short", "the answer has 4 tokens of 5"),
        ("stall", "stalled: no data from the server for 0 s"),
    ],
)
def test_every_error_is_the_outcome_of_its_request(mishap: Mishap, why: str) -> None:
    outcome = complete(FakeServer(mishaps={0: mishap}), patience_s=0.3)
    assert isinstance(outcome, Failed)
    assert outcome.why == why


def test_a_server_that_is_not_running_is_a_failed_request() -> None:
    outcome = ask("http://127.0.0.1:9", lambda client: client.complete([1], 1, perf_counter()))
    assert isinstance(outcome, Failed)
    assert outcome.why.startswith("the connection failed: ")


def test_reused_prompt_tokens_are_reported() -> None:
    outcome = complete(FakeServer(mishaps={0: "reuse"}))
    assert isinstance(outcome, Answered)
    assert outcome.n_reused == 1


def test_no_prompt_is_answered_from_a_cache() -> None:
    fake = FakeServer()
    complete(fake)
    assert fake.bodies[0]["cache_prompt"] is False
    assert fake.bodies[0]["ignore_eos"] is True


def test_a_server_reports_its_model_and_settings() -> None:
    with serving(FakeServer(alias="chat-1", n_ctx=512, n_slots=2)) as url:
        about = ask(url, lambda client: client.about())
    assert (about.alias, about.n_ctx, about.n_slots, about.file) == ("chat-1", 512, 2, "/models/fake.gguf")


def told(answer: Any, dialect: Dialect, question: Callable[[ModelClient], Coroutine[Any, Any, T]]) -> T:
    """Ask a server that says the same to everything, in text or as JSON."""

    async def run() -> T:
        said: dict[str, Any] = {"text": answer} if isinstance(answer, str) else {"json": answer}
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, **said))) as http:
            return await question(ModelClient(http, Endpoint("http://server", dialect)))

    return asyncio.run(run())


def test_an_answer_without_tokens_is_a_failed_request() -> None:
    stream = 'data: {"choices": [{"text": ""}]}\n\ndata: [DONE]\n\n'
    outcome = told(stream, "llama_cpp.server", lambda client: client.complete([40], 4, perf_counter()))
    assert isinstance(outcome, Failed)
    assert outcome.why == "the answer has no token"


@pytest.mark.parametrize("message", [{"content": ""}, {"content": None}, None])
def test_an_empty_chat_reply_is_refused(message: Any) -> None:
    with pytest.raises(BadResponse, match="the answer to a chat"):
        told({"choices": [{"message": message}]}, "llama-server", lambda client: client.chat("안녕하세요", 4))


@pytest.mark.parametrize("answer", [{"tokens": []}, {"tokens": ["a"]}, {"tokens": None}, {}, []])
@pytest.mark.parametrize("dialect", ["llama-server", "llama_cpp.server"])
def test_a_tokenizer_that_returns_no_tokens_is_refused(answer: Any, dialect: Dialect) -> None:
    with pytest.raises(BadResponse, match="token"):
        told(answer, dialect, lambda client: client.prompt_parts("안녕하세요"))


def test_a_server_that_reports_invalid_numbers_is_refused() -> None:
    props = FakeServer().props() | {"total_slots": "many"}
    with pytest.raises(BadResponse, match="does not answer as a llama-server does"):
        told(props, "llama-server", lambda client: client.about())


def test_another_program_on_the_port_is_refused() -> None:
    class Stranger(FakeServer):
        def props(self) -> dict[str, Any]:
            return {"hello": "world"}

    with serving(Stranger()) as url, pytest.raises(BadResponse, match="does not answer as a llama-server does"):
        ask(url, lambda client: client.about())


def test_requests_carry_the_api_key_and_no_message_repeats_it() -> None:
    with serving(FakeServer(alias="chat-1", api_key="k3y")) as url:

        async def run() -> str:
            async with open_http() as http:
                endpoint = Endpoint(url, "llama-server", api_key="k3y")
                assert "k3y" not in repr(endpoint)
                return (await ModelClient(http, endpoint).about()).alias

        assert asyncio.run(run()) == "chat-1"
        with pytest.raises(BadResponse, match=r"wants an API key \(status 401\): give it in LLAMA_API_KEY, or"):
            ask(url, lambda client: client.about())
        outcome = ask(url, lambda client: client.complete([1], 1, perf_counter()))
        assert isinstance(outcome, Failed)
        assert "wants an API key" in outcome.why


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_answer_repeats_neither_key_nor_password(status: int) -> None:
    said = httpx.Response(status, json={"error": {"message": "bad key k3y, see http://u:pw@host/x and \x1b[2J"}})

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: said)) as http:
            await ModelClient(http, Endpoint("http://u:pw@server", "llama-server", api_key="k3y")).about()

    with pytest.raises(BadResponse) as raised:
        asyncio.run(run())
    assert "k3y" not in str(raised.value)
    assert "pw" not in str(raised.value)
    assert type(raised.value) is BadResponse


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(NotReady) as raised:
        ask("http://u:pw@127.0.0.1:9", lambda client: client.about())
    assert str(raised.value).startswith("http://***@127.0.0.1:9 does not answer")
