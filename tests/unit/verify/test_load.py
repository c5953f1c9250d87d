import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count

from layertune.testing import FakeServer, serving
from layertune.verify.client import Endpoint, ModelClient, open_http
from layertune.verify.load import ModelLoad, Models, alone, burst, patience_s, side_by_side, soak
from layertune.verify.requests import Answered, Failed, Phase, RequestOutcome


def ignore(_outcome: RequestOutcome) -> None:
    """No one watches."""


@contextmanager
def pair(**fakes: FakeServer) -> Iterator[Mapping[str, str]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(fake)) for name, fake in fakes.items()}


def put(load: Callable[[Models], Awaitable[Phase]], **fakes: FakeServer) -> Phase:
    async def run(urls: Mapping[str, str]) -> Phase:
        async with open_http() as http:
            models = {
                name: ModelLoad(ModelClient(http, Endpoint(url, "llama-server")), ([at] for at in count()), 3)
                for name, url in urls.items()
            }
            return await load(models)

    with pair(**fakes) as urls:
        return asyncio.run(run(urls))


def test_a_model_alone_is_asked_one_request_after_the_other_and_the_first_does_not_count() -> None:
    chat, code = FakeServer(token_s=0.002), FakeServer()
    phase = put(lambda models: alone(models, "chat", 4), chat=chat, code=code)
    assert len(phase.answered("chat")) == 4
    assert (len(chat.prompts), chat.most_at_once, len(code.prompts)) == (5, 1, 0)


def test_a_burst_asks_every_model_all_at_once() -> None:
    chat, code = FakeServer(token_s=0.05), FakeServer(token_s=0.05)
    phase = put(lambda models: burst(models, 6), chat=chat, code=code)
    assert (chat.most_at_once, code.most_at_once) == (6, 6)
    assert (len(phase.answered("chat")), len(phase.answered("code"))) == (6, 6)
    assert sorted(chat.prompts) == [[at] for at in range(6)]


def test_side_by_side_the_faster_model_goes_on_until_the_slower_has_its_requests() -> None:
    chat, code = FakeServer(token_s=0.001), FakeServer(token_s=0.03)
    phase = put(lambda models: side_by_side(models, 3), chat=chat, code=code)
    assert len(phase.answered("code")) == 3
    assert len(phase.answered("chat")) > 3
    assert (chat.most_at_once, code.most_at_once) == (1, 1)


def test_a_soak_keeps_its_streams_busy_and_answers_all_that_was_asked() -> None:
    chat, code = FakeServer(token_s=0.01), FakeServer(token_s=0.02)
    phase = put(lambda models: soak(models, 3, 0.3, asyncio.Event(), ignore), chat=chat, code=code)
    assert (chat.most_at_once, code.most_at_once) == (3, 3)
    for name, fake in (("chat", chat), ("code", code)):
        assert len(phase.answered(name)) == len(fake.prompts) > 3
    assert phase.wall_s >= 0.3


def test_a_soak_that_is_called_off_ends_with_the_requests_under_way() -> None:
    async def called_off(models: Models) -> Phase:
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, over.set)
        return await soak(models, 2, 3600.0, over, ignore)

    chat = FakeServer(token_s=0.01)
    phase = put(called_off, chat=chat)
    assert len(phase.answered("chat")) == len(chat.prompts)


def test_a_server_that_refuses_is_not_asked_thousands_of_times() -> None:
    chat = FakeServer(mishaps=dict.fromkeys(range(10_000), "refuse"))
    phase = put(lambda models: soak(models, 2, 0.5, asyncio.Event(), ignore), chat=chat)
    assert len(chat.prompts) == 2
    assert phase.failures() == {"chat: status 503: Loading model": 2}


def test_a_failed_request_does_not_end_its_stream() -> None:
    chat = FakeServer(token_s=0.01, mishaps={0: "error"})
    phase = put(lambda models: soak(models, 1, 1.5, asyncio.Event(), ignore), chat=chat)
    assert isinstance(phase.outcomes["chat"][0], Failed)
    assert phase.answered("chat")


def test_patience_is_for_everybody_in_front_of_a_full_queue() -> None:
    def took(duration_s: float) -> Phase:
        return Phase("alone", 1, duration_s, {"chat": [Answered(0.0, 0.1, 0.1, duration_s, 3)]})

    assert patience_s([took(5.0), took(1.0)], 10) == 200.0
    assert patience_s([took(0.01)], 10) == 60.0
    assert patience_s([Phase("alone", 1, 1.0, {"chat": [Failed(0.0, "stalled")]})], 10) is None
