"""The load tests. All are closed-loop: each stream sends its next request after the previous one has ended."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from layertune.verify.client import ModelClient
from layertune.verify.requests import Failed, Phase, RequestOutcome

# Pause after a failure, so that a server that refuses immediately does not get thousands of requests per second.
_AFTER_FAILURE_S = 1.0


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """The requests to one model: its client, the prompts, and the number of tokens to generate."""

    client: ModelClient
    prompts: Iterator[list[int]]
    n_generate: int

    async def request(self, phase_started_s: float) -> RequestOutcome:
        return await self.client.complete(next(self.prompts), self.n_generate, phase_started_s)


Models = Mapping[str, ModelLoad]


async def alone(models: Models, name: str, n_requests: int) -> Phase:
    """Send requests to one model, one after the other, after one warm-up request."""
    await models[name].request(perf_counter())
    started_s = perf_counter()
    outcomes = [await models[name].request(started_s) for _ in range(n_requests)]
    return Phase(f"{name} alone", 1, perf_counter() - started_s, {name: outcomes})


async def side_by_side(models: Models, n_requests: int) -> Phase:
    """Run one stream to each model at the same time, until every model has answered `n_requests`.

    Faster models continue until then, so that all counted requests run under contention. Requests that end later are
    dropped.
    """
    outcomes: dict[str, list[RequestOutcome]] = {name: [] for name in models}
    started_s = perf_counter()
    over = asyncio.Event()

    async def stream(name: str) -> None:
        while not over.is_set():
            outcome = await models[name].request(started_s)
            if over.is_set():
                return
            outcomes[name].append(outcome)
            if all(len(each) >= n_requests for each in outcomes.values()):
                over.set()
            elif isinstance(outcome, Failed):
                await asyncio.sleep(_AFTER_FAILURE_S)

    await _together(stream(name) for name in models)
    return Phase("side by side", 1, perf_counter() - started_s, outcomes)


async def burst(models: Models, n_streams: int) -> Phase:
    """Send `n_streams` requests to each model, all at the same time."""
    outcomes: dict[str, list[RequestOutcome]] = {name: [] for name in models}
    started_s = perf_counter()

    async def one(name: str) -> None:
        outcomes[name].append(await models[name].request(started_s))

    await _together(one(name) for name in models for _ in range(n_streams))
    return Phase("load test", n_streams, perf_counter() - started_s, outcomes)


async def soak(
    models: Models,
    n_streams: int,
    duration_s: float,
    over: asyncio.Event,
    on_outcome: Callable[[RequestOutcome], None],
) -> Phase:
    """Run `n_streams` streams to each model for `duration_s`, or until `over` is set.

    It waits for the requests in progress at the end, so that every request counts. It calls `on_outcome` with each
    outcome as it comes.
    """
    outcomes: dict[str, list[RequestOutcome]] = {name: [] for name in models}
    started_s = perf_counter()

    async def stream(name: str) -> None:
        while not over.is_set():
            outcome = await models[name].request(started_s)
            outcomes[name].append(outcome)
            on_outcome(outcome)
            if isinstance(outcome, Failed):
                await asyncio.sleep(_AFTER_FAILURE_S)

    async def end() -> None:
        try:
            await asyncio.wait_for(over.wait(), duration_s)
        except TimeoutError:
            over.set()

    await _together([end(), *(stream(name) for name in models for _ in range(n_streams))])
    return Phase("soak", n_streams, perf_counter() - started_s, outcomes)


def patience_s(phases: Sequence[Phase], n_streams: int) -> float | None:
    """Return the longest time that a request in a full queue may wait without data; None if no request was answered.

    It is 4 · `n_streams` · the slowest request of `phases`, whose queues were empty. It is at least a minute.
    """
    durations_s = [each.duration_s for phase in phases for name in phase.outcomes for each in phase.answered(name)]
    return max(60.0, 4 * max(durations_s) * n_streams) if durations_s else None


async def _together(work: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)
