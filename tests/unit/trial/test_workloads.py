"""The order in which models are timed; no model is loaded."""

import threading
from collections.abc import Callable, Sized
from time import perf_counter
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.engine.sampling import Sampler
from layertune.engine.timing import Timing
from layertune.settings import EngineSettings
from layertune.trial.effort import Effort
from layertune.trial.messages import ModelTask
from layertune.trial.workloads import DepthTimings, LoadedModel, run_alone, run_during_prefill, run_together, warm_up


def timing(tokens_per_s: float) -> Timing:
    generate_ns = round(1e9 / tokens_per_s)
    return Timing(
        n_prompt=1, n_generate=1, prompt_ns=0, first_token_ns=1, generate_ns=generate_ns, decode_ns=generate_ns
    )


class FakeContext:
    """Is in a long prompt from `clear` to the end of `prefill`, which ends when it is cut."""

    def __init__(self) -> None:
        self.in_prompt = threading.Event()

    def clear(self) -> None:
        self.in_prompt.set()

    def prefill(self, _tokens: object, *, cut: Callable[[], bool]) -> None:
        while not cut():
            pass
        self.in_prompt.clear()


class FakeModel:
    """Stands for a loaded model: notes its name at each run, and has the speeds it is given, the last one for ever."""

    def __init__(self, name: str, log: list[str], *speeds: float) -> None:
        self.name = name
        self.context = FakeContext()
        self._log = log
        self._speeds = list(speeds)

    def run(self) -> Timing:
        self._log.append(self.name)
        return timing(self._speeds.pop(0) if len(self._speeds) > 1 else self._speeds[0])

    def run_first_tokens(self) -> Timing:
        return self.run()

    def long_prompt(self) -> object:
        return object()


def test_the_warm_up_runs_every_workload_in_rounds_while_time_is_left() -> None:
    log: list[str] = []
    models = [FakeModel("chat", log, 10.0), FakeModel("code", log, 5.0)]
    warm_up(models, perf_counter())
    assert log == []
    warm_up(models, perf_counter() + 0.01)
    assert len(log) >= 2
    assert log == ["chat", "code"] * (len(log) // 2)


def test_models_are_timed_in_rounds_until_every_median_has_the_target_spread() -> None:
    log: list[str] = []
    steady, settling = FakeModel("chat", log, 10.0), FakeModel("code", log, 5.0, 6.0, 5.4, 5.5)
    asked: list[int] = []

    def go_on(seen: dict[str, list[Timing]]) -> bool:
        asked.append(len(seen["chat"]))
        return True

    timings = run_alone([steady, settling], Effort(2, 40, 0.05), go_on, lambda _name: None)
    assert log[:4] == ["chat", "code", "chat", "code"]
    assert len(timings["chat"]) == len(timings["code"]) == len(log) // 2 < 40
    assert asked == list(range(2, len(timings["chat"])))


def test_after_the_time_limit_two_repetitions_are_enough() -> None:
    log: list[str] = []
    restless = FakeModel("chat", log, *(10.0 * factor for factor in (1, 2) * 9))
    slow, fast = Effort(4, 9, 0.01, max_s=0.0), Effort(4, 9, 0.01, max_s=3600.0)
    assert len(run_alone([restless], slow, lambda _seen: True, lambda _name: None)["chat"]) == 2
    assert len(run_together([restless], slow)["chat"]) == 2
    assert len(run_alone([restless], fast, lambda _seen: True, lambda _name: None)["chat"]) == 9


def test_a_model_with_varying_speed_is_timed_up_to_the_maximum() -> None:
    restless = FakeModel("chat", [], *(10.0 * factor for factor in (1, 2) * 9))
    timings = run_alone([restless], Effort(2, 5, 0.01), lambda _seen: True, lambda _name: None)
    assert [each.tokens_per_s for each in timings["chat"]] == [10, 20, 10, 20, 10]


def test_timing_ends_after_the_minimum_of_repetitions_if_the_trial_is_given_up() -> None:
    restless = FakeModel("chat", [], 10.0, 20.0, 10.0, 20.0)
    timings = run_alone([restless], Effort(2, 9, 0.01), lambda _seen: False, lambda _name: None)
    assert len(timings["chat"]) == 2


def test_every_model_has_its_repetitions_when_all_run_at_once() -> None:
    log: list[str] = []
    models = [FakeModel(name, log, 10.0) for name in ("chat", "code", "draft")]
    timings = run_together(models, Effort(3, 5, 0.5))
    assert all(len(of_model) >= 3 for of_model in timings.values())


def test_each_model_is_timed_while_all_others_process_a_prompt() -> None:
    log: list[str] = []
    models = [FakeModel(name, log, 10.0) for name in ("chat", "code", "draft")]
    timings = run_during_prefill(models, 2)
    assert {name: len(of_model) for name, of_model in timings.items()} == {"chat": 2, "code": 2, "draft": 2}
    assert not any(model.context.in_prompt.is_set() for model in models)


class CountingContext:
    """A cache that notes from which to which token everything was decoded."""

    def __init__(self, n_batch: int) -> None:
        self.n_batch = n_batch
        self.n_held = 0
        self.decoded: list[tuple[str, int, int]] = []

    def clear(self) -> None:
        self.n_held = 0

    def prefill(self, tokens: Sized, cut: Callable[[], bool] = lambda: False) -> None:
        for start in range(0, len(tokens), self.n_batch):
            self._decode("prompt", min(self.n_batch, len(tokens) - start))
            if cut():
                break

    def step(self, _token: int) -> None:
        self._decode("token", 1)

    def _decode(self, what: str, n: int) -> None:
        if n:
            self.decoded.append((what, self.n_held, self.n_held + n))
        self.n_held += n


def deep_run(
    n_ctx: int, n_parallel: int = 1, n_batch: int = 512, limit_s: float | None = None
) -> tuple[CountingContext, DepthTimings | None]:
    engine = EngineSettings(n_gpu_layers=0, n_ctx=n_ctx, n_batch=32, n_ubatch=32, n_threads=1, n_parallel=n_parallel)
    context, generator = CountingContext(n_batch), np.random.default_rng(0)
    model, sampler = SimpleNamespace(n_vocab=9), SimpleNamespace(sample=lambda _context: 0)
    task = ModelTask("chat", "chat.gguf", engine, 8, 2)
    loaded = LoadedModel(task, cast(Model, model), cast(Context, context), cast(Sampler, sampler), 0.0, generator)
    return context, loaded.run_at_depth(limit_s)


@pytest.mark.parametrize(("n_ctx", "n_parallel"), [(100, 1), (400, 4)])
def test_one_filling_of_a_slot_has_a_turn_at_its_half_and_a_turn_up_to_its_end(n_ctx: int, n_parallel: int) -> None:
    context, timings = deep_run(n_ctx, n_parallel)
    assert context.decoded == [
        ("prompt", 0, 50),
        ("prompt", 50, 58),
        ("token", 58, 59),
        ("token", 59, 60),
        ("prompt", 60, 90),
        ("prompt", 90, 98),
        ("token", 98, 99),
        ("token", 99, 100),
    ]
    assert timings is not None
    for each in (timings.half, timings.full):
        assert (each.n_prompt, each.n_generate) == (8, 2)
        assert each.turn_s == pytest.approx((each.prompt_ns + each.generate_ns) / 1e9)
    assert timings.fill_s >= timings.half.turn_s + timings.full.turn_s


@pytest.mark.parametrize("n_ctx", [10, 12, 25, 39, 40])
def test_a_slot_that_holds_no_second_turn_behind_its_half_is_filled_anew(n_ctx: int) -> None:
    context, _ = deep_run(n_ctx)
    assert ("prompt", min(n_ctx // 2, n_ctx - 10), min(n_ctx // 2, n_ctx - 10) + 8) in context.decoded
    assert context.decoded[-3:] == [
        ("prompt", n_ctx - 10, n_ctx - 2),
        ("token", n_ctx - 2, n_ctx - 1),
        ("token", n_ctx - 1, n_ctx),
    ]


def test_a_filling_that_takes_too_long_ends_after_the_batch_that_runs() -> None:
    context, timings = deep_run(100, n_batch=20, limit_s=0.0)
    assert timings is None
    assert context.decoded == [("prompt", 0, 20)]
