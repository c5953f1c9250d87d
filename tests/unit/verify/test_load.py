"""The load tests over clients of known speed, in an event loop whose clock jumps to the next timer."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import pytest

from layertune.verify import load as load_module
from layertune.verify.client import ModelClient
from layertune.verify.load import ModelLoad, Models, alone, burst, patience_s, side_by_side, soak
from layertune.verify.requests import Answered, Failed, Phase, RequestOutcome


@dataclass(slots=True)
class TimedClient:
    """Answers each request after `request_s`; the requests in `failing`, by number from 0, fail at once."""

    request_s: float = 1.0
    failing: Sequence[int] = ()
    prompts: list[Sequence[int]] = field(default_factory=list)
    most_at_once: int = 0
    _n_running: int = 0

    async def complete(self, prompt: Sequence[int], n_predict: int, phase_started_s: float) -> RequestOutcome:
        started_s, number = now() - phase_started_s, len(self.prompts)
        self.prompts.append(prompt)
        if number in self.failing:
            return Failed(started_s, "status 503")
        self._n_running += 1
        self.most_at_once = max(self.most_at_once, self._n_running)
        await asyncio.sleep(self.request_s)
        self._n_running -= 1
        return Answered(started_s, self.request_s / 2, 0.1, self.request_s, n_predict)


class JumpingSelector(selectors.DefaultSelector):
    """Counts the time that the loop would wait instead of waiting."""

    time_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.time_s += timeout or 0.0
        return super().select(0.0)


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.time_s


def now() -> float:
    return asyncio.get_running_loop().time()


def put(load: Callable[[Models], Awaitable[Phase]], **clients: TimedClient) -> Phase:
    """Return what a load test of these clients finds."""

    async def run() -> Phase:
        numbers: Mapping[str, Any] = {name: count() for name in clients}
        models = {
            name: ModelLoad(cast(ModelClient, client), ([at] for at in numbers[name]), 3)
            for name, client in clients.items()
        }
        return await load(models)

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=JumpingLoop) as runner:
        patch.setattr(load_module, "perf_counter", now)
        return runner.run(run())


def ignore(_outcome: RequestOutcome) -> None:
    pass


def test_a_model_alone_gets_its_requests_one_after_the_other_after_a_warm_up() -> None:
    chat, code = TimedClient(), TimedClient()
    phase = put(lambda models: alone(models, "chat", 4), chat=chat, code=code)
    assert len(phase.answered("chat")) == 4
    assert (len(chat.prompts), chat.most_at_once, len(code.prompts)) == (5, 1, 0)
    assert phase.wall_s == pytest.approx(4.0)


def test_a_burst_sends_all_requests_to_every_model_at_once() -> None:
    chat, code = TimedClient(), TimedClient()
    phase = put(lambda models: burst(models, 6), chat=chat, code=code)
    assert (chat.most_at_once, code.most_at_once) == (6, 6)
    assert (len(phase.answered("chat")), len(phase.answered("code"))) == (6, 6)
    assert sorted(chat.prompts) == [[at] for at in range(6)]


def test_side_by_side_the_faster_model_continues_until_the_slower_has_its_requests() -> None:
    chat, code = TimedClient(1.0), TimedClient(2.5)
    phase = put(lambda models: side_by_side(models, 3), chat=chat, code=code)
    assert (len(phase.answered("chat")), len(phase.answered("code"))) == (7, 3)
    assert (chat.most_at_once, code.most_at_once) == (1, 1)


def test_a_soak_keeps_its_streams_busy_and_waits_for_every_answer() -> None:
    chat, code = TimedClient(1.0), TimedClient(4.0)
    phase = put(lambda models: soak(models, 3, 9.5, asyncio.Event(), ignore), chat=chat, code=code)
    assert (chat.most_at_once, code.most_at_once) == (3, 3)
    assert len(phase.answered("chat")) == len(chat.prompts) == 3 * 10
    assert len(phase.answered("code")) == len(code.prompts) == 3 * 3
    assert phase.wall_s == pytest.approx(12.0)


def test_a_soak_that_is_ended_early_waits_for_the_requests_under_way() -> None:
    async def ended_early(models: Models) -> Phase:
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(2.5, over.set)
        return await soak(models, 2, 3600.0, over, ignore)

    chat = TimedClient(1.0)
    phase = put(ended_early, chat=chat)
    assert len(phase.answered("chat")) == len(chat.prompts) == 2 * 3


def test_a_server_that_refuses_gets_one_request_a_second_from_each_stream() -> None:
    chat = TimedClient(failing=range(10_000))
    phase = put(lambda models: soak(models, 2, 4.5, asyncio.Event(), ignore), chat=chat)
    assert phase.failures() == {"chat: status 503": 2 * 5}


def test_a_failed_request_does_not_end_its_stream() -> None:
    chat = TimedClient(failing=[0])
    phase = put(lambda models: soak(models, 1, 1.5, asyncio.Event(), ignore), chat=chat)
    assert [type(outcome) for outcome in phase.outcomes["chat"]] == [Failed, Answered]


def test_the_longest_wait_covers_all_requests_ahead_in_a_full_queue() -> None:
    def took(duration_s: float) -> Phase:
        return Phase("alone", 1, duration_s, {"chat": [Answered(0.0, 0.1, 0.1, duration_s, 3)]})

    assert patience_s([took(5.0), took(1.0)], 10) == 200.0
    assert patience_s([took(0.01)], 10) == 60.0
    assert patience_s([Phase("alone", 1, 1.0, {"chat": [Failed(0.0, "stalled")]})], 10) is None
