"""Runs the checklist over the servers and keeps the evidence of each item."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from time import perf_counter

from layertune.devices.host_watch import HostWatch
from layertune.errors import DeviceError
from layertune.units import format_duration
from layertune.verify import checklist, load
from layertune.verify.client import BadResponse, Http, ModelClient, open_http
from layertune.verify.gauge import Drift, Gauge, MemoryReading
from layertune.verify.prompts import QUESTIONS, TEXT, prompts
from layertune.verify.record import Check, Load, Memory, PlanCheck, SpeedComparison, compare_speeds
from layertune.verify.requests import Failed, Phase, RequestOutcome
from layertune.verify.servers import ServerFailed, Servers, answering
from layertune.verify.stack import ServedModel, Stack

_N_ALONE = 5
_N_ANSWER = 16
_INTERVAL_S = 1.0
_N_UNREAD = 2  # failed readings in a row that count as a failure, not as a glitch
_WERE_THERE = "the servers were running before, so their memory cannot be separated from that of other programs"
_N_REPORTS, _LEAST_REPORT_S = 10, 10.0  # progress reports of a soak, and the least time between them


class _Tally:
    """Counts the outcomes of a soak."""

    def __init__(self) -> None:
        self._n_answered = self._n_failed = 0

    def count(self, outcome: RequestOutcome) -> None:
        if isinstance(outcome, Failed):
            self._n_failed += 1
        else:
            self._n_answered += 1

    def __str__(self) -> str:
        return f"{self._n_answered} requests answered, {self._n_failed} failed"


class ChecklistRun:
    """One run of the checklist; `run` does its items in order.

    Args:
        stack: the models to serve.
        servers: starts and ends their servers.
        plan: the planned memory of the settings.
        pressure: the load of the load test and the soak.
        gauge: reads the device's memory. It is not used with servers that were running before, since its baseline
            includes them.
        no_memory: the reason if there is no gauge.
        say: called with each progress message.
        watch: notices other programs that use the processor.
        return_s: the longest time that the memory of ended servers may take to be free again.
    """

    def __init__(
        self,
        stack: Stack,
        servers: Servers,
        plan: PlanCheck,
        pressure: Load,
        gauge: Gauge | None,
        no_memory: str,
        say: Callable[[str], None],
        watch: HostWatch,
        *,
        return_s: float = 30.0,
    ) -> None:
        self._stack = stack
        self._servers = servers
        self._plan = plan
        self._pressure = pressure
        self._gauge = None if servers.were_there else gauge
        self._no_memory = _WERE_THERE if servers.were_there else no_memory
        self._say = say
        self._watch_host = watch
        self._return_s = return_s
        self._models: dict[str, load.ModelLoad] = {}
        self.checks: list[Check] = []
        self.compared: list[SpeedComparison] = []
        self.phases: list[Phase] = []
        self.builds: dict[str, str] = {}
        self.meanwhile: dict[str, list[str]] = {}
        self._after: dict[str, int] = {}
        self._peaks: dict[str, int] = {}
        self._drift: Drift | None = None
        self._left_bytes: int | None = None

    async def run(self) -> None:
        """Check the items in order. Stop if one fails that the next ones need, or if the device stops answering."""
        try:
            await self._items()
        except DeviceError as error:
            self._note(checklist.silent(error))

    async def _items(self) -> None:
        async with open_http() as http:
            self._look_before()
            for model in self._stack.models.values():
                if not await self._start(http, model):
                    return
            if await self._ask_at_once() and await self._compare():
                await self._load_test()
                await self._soak()
        await self._stop()

    def memory(self) -> Memory | None:
        if self._gauge is None:
            return None
        before = self._gauge.before
        return Memory(
            scope=before.scope,
            source=before.source,
            before_bytes=before.baseline_bytes,
            after_bytes=self._after,
            load_peak_bytes=self._peaks.get("load test"),
            soak_peak_bytes=self._peaks.get("soak"),
            drift=self._drift,
            left_bytes=self._left_bytes,
        )

    def _look_before(self) -> None:
        if self._gauge is None:
            self._note(checklist.no_memory(self._no_memory))
        else:
            before = self._gauge.before
            self._note(checklist.before(before.baseline_bytes, before.source))

    async def _start(self, http: Http, model: ServedModel) -> bool:
        self._say(f"starting {model.name}")
        held_before = 0 if self._gauge is None else self._gauge.read()
        try:
            client = ModelClient(http, self._servers.start(model))
            about = await answering(client, self._servers.check)
            self._servers.confirm(model.name)
            text = await client.prompt_parts(TEXT)
        except (ServerFailed, BadResponse, DeviceError) as error:
            failure = error if isinstance(error, ServerFailed) else ServerFailed(str(error))
            return self._note(checklist.not_started(model, failure, self._plan.advice))
        if about.build is not None:
            self.builds[model.name] = about.build
        n_parts = round(model.workload.n_prompt * text.per_token)
        self._models[model.name] = load.ModelLoad(client, prompts(text.parts, n_parts), model.workload.n_generate)
        if self._gauge is not None:
            held = self._after[model.name] = self._gauge.read()
            self._note(checklist.after_start(model.name, held, held - held_before, self._plan))
        return self._note(checklist.applied(model, about, given=self._servers.were_there))

    async def _ask_at_once(self) -> bool:
        """Send one chat request to each model at the same time."""
        questions = [QUESTIONS[at % len(QUESTIONS)] for at in range(len(self._models))]
        asked = [
            each.client.chat(question, _N_ANSWER)
            for each, question in zip(self._models.values(), questions, strict=True)
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return self._note(checklist.inferred_at_once(dict(zip(self._models, questions, strict=True)), answers))

    async def _compare(self) -> bool:
        """Measure each model alone, then all together, as the study does."""
        of_model = {}
        self._watch_host.start()
        for name in self._models:
            self._say(f"{name} alone, {_N_ALONE} requests")
            of_model[name] = await load.alone(self._models, name, _N_ALONE)
        phases = list(of_model.values())
        if len(self._models) > 1:
            self._say("one stream to each model at the same time")
            phases.append(await load.side_by_side(self._models, _N_ALONE))
        self.meanwhile["comparison"] = [found.text for found in self._watch_host.stop()]
        self.phases += phases
        self.compared = compare_speeds(of_model, phases[-1], self._stack.trial)
        patience_s = load.patience_s(phases, self._pressure.n_streams)
        if patience_s is not None:
            for each in self._models.values():
                each.client.patience_s = patience_s
        what = "each model answers alone, and one stream to each at once"
        return self._note(self._answered(what, phases))

    async def _load_test(self) -> None:
        n_streams = self._pressure.n_streams
        self._say(f"load test: {n_streams} requests to each model at once")
        phase = await load.burst(self._models, n_streams)
        self.phases.append(phase)
        what = f"{n_streams} concurrent requests to each model"
        self._note(self._answered(what, [phase]))

    async def _soak(self) -> None:
        duration = format_duration(self._pressure.duration_s)
        self._say(f"soak: {self._pressure.n_streams} streams to each model for {duration}")
        over, tally = asyncio.Event(), _Tally()
        self._watch_host.start()
        phase, readings = await asyncio.gather(
            load.soak(self._models, self._pressure.n_streams, self._pressure.duration_s, over, tally.count),
            self._watch(over, tally),
        )
        self.meanwhile["soak"] = [found.text for found in self._watch_host.stop()]
        self.phases.append(phase)
        if self._gauge is not None and readings:
            self._drift = Drift.of(readings, self._gauge.before.scope)
        check = self._answered(f"{duration} of load without out-of-memory", [phase])
        self._note(checklist.steady(check, self._drift))

    async def _watch(self, over: asyncio.Event, tally: _Tally) -> Sequence[MemoryReading]:
        """Watch servers and memory until `over`, and end the soak if a server has ended.

        A single failed reading is ignored, because a soak may last half an hour. Consecutive ones are a failed check.
        """
        readings: list[MemoryReading] = []
        n_unread = 0
        started_s = perf_counter()

        def read() -> None:
            nonlocal n_unread
            if self._gauge is None:
                return
            try:
                readings.append(MemoryReading(perf_counter() - started_s, self._gauge.read()))
                n_unread = 0
            except DeviceError as error:
                n_unread += 1
                if n_unread == _N_UNREAD:
                    self._note(checklist.unread("soak", error))

        reported_s, every_s = started_s, max(_LEAST_REPORT_S, self._pressure.duration_s / _N_REPORTS)
        while not over.is_set():
            read()
            if perf_counter() - reported_s >= every_s:
                reported_s = perf_counter()
                self._say(f"{format_duration(reported_s - started_s)}: {tally}")
            if self._ended() is not None:
                over.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _INTERVAL_S)
        read()
        self._say(f"{tally}; waiting for the requests under way")
        return readings

    async def _stop(self) -> None:
        if self._servers.were_there:
            return
        self._say("ending the servers")
        self._servers.stop()
        if self._gauge is None:
            return
        deadline_s = perf_counter() + self._return_s
        while not self._gauge.is_back() and perf_counter() < deadline_s:
            await asyncio.sleep(_INTERVAL_S / 10)
        self._left_bytes = self._gauge.read()
        self._note(checklist.returned(self._left_bytes, is_back=self._gauge.is_back()))

    def _answered(self, what: str, phases: Sequence[Phase]) -> Check:
        return checklist.answered(what, phases, self._peak(phases[-1].name), self._plan, self._ended())

    def _ended(self) -> ServerFailed | None:
        """Return how a server ended by itself, None if all are running."""
        try:
            self._servers.check()
        except ServerFailed as failure:
            return failure
        return None

    def _peak(self, phase: str) -> int | None:
        if self._gauge is None:
            return None
        try:
            self._peaks[phase] = self._gauge.lap().peak_bytes
        except DeviceError as error:
            self._note(checklist.unread(phase, error))
        return self._peaks.get(phase)

    def _note(self, check: Check) -> bool:
        """Record a check, and return whether the run can continue."""
        self.checks.append(check)
        if check.state == "failed":
            self._say(f"failed: {check.what}: {check.evidence}")
        return check.state != "failed"
