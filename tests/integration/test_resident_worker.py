"""A worker that keeps weights between trials tells the same as a fresh one: real llama.cpp on the emulated card."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from layertune.devices.target import Target
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

EFFORT = Effort(1, 1, 0.5)


def split(chat: int, code: int, n_batch: int = 16) -> SplitSettings:
    def engine(n_gpu_layers: int) -> EngineSettings:
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=256, n_batch=n_batch, n_ubatch=n_batch, n_threads=1)

    return SplitSettings.of({"chat": engine(chat), "code": engine(code)})


def runner(demo_pair: dict[str, Path]) -> ProcessTrialRunner:
    paths = {name: str(path) for name, path in demo_pair.items()}
    target = Target("emulated", "emulated card", vram_bytes=600 * MIB, n_threads=2)
    return ProcessTrialRunner(TrialContext(target, paths, dict.fromkeys(paths, (8, 2)), 0, 300.0))


def measured(runner: ProcessTrialRunner, settings: SplitSettings) -> Measured:
    outcome = runner.run(settings, EFFORT)
    assert isinstance(outcome, Measured), outcome
    return outcome


def workers() -> set[int]:
    return {
        process.pid
        for process in psutil.Process().children()
        if "layertune.trial.worker" in " ".join(process.cmdline())
    }


# In this order the second changes a context only, the third one model's layers, the fourth both models' and fewer of
# them, the last more again.
ORDER = [split(12, 7), split(12, 7, n_batch=32), split(12, 0), split(1, 1), split(31, 19)]


@dataclass(frozen=True)
class Resident:
    """All of ORDER, one after the other: what each came to and which worker had run it. The runner is still open."""

    runner: ProcessTrialRunner
    outcomes: list[Measured]
    workers: list[set[int]]


@pytest.fixture(scope="module")
def resident(needs_rpc: None, demo_pair: dict[str, Path]) -> Iterator[Resident]:
    with closing(runner(demo_pair)) as open_runner:
        found = Resident(open_runner, [], [])
        for settings in ORDER:
            found.outcomes.append(measured(open_runner, settings))
            found.workers.append(workers())
        yield found


def test_memory_figures_are_those_of_a_fresh_worker_whatever_ran_before(
    resident: Resident, demo_pair: dict[str, Path]
) -> None:
    # The first had a fresh worker itself.
    for settings, after_others in list(zip(ORDER, resident.outcomes, strict=True))[1:]:
        with closing(runner(demo_pair)) as fresh:
            alone = measured(fresh, settings)
        assert after_others.vram is not None
        assert alone.vram is not None
        assert after_others.vram.peak_bytes == alone.vram.peak_bytes
        for name, report in alone.models.items():
            assert after_others.models[name].buffers == report.buffers


def test_one_worker_runs_them_all_and_loads_only_what_changed(resident: Resident) -> None:
    first, context_only, one_model, *_ = resident.outcomes
    (worker,) = resident.workers[0]
    assert resident.workers == [{worker}] * len(ORDER)
    assert first.held["idle"].weights == ()
    assert context_only.held["idle"].weights == ("chat", "code")
    assert one_model.held["idle"].weights == ("chat",)
    assert context_only.clock.load_s < first.clock.load_s


def test_what_stays_and_what_comes_back_is_counted_to_the_byte(resident: Resident) -> None:
    outcome = resident.outcomes[0]
    assert outcome.vram is not None
    phases = outcome.vram.phases
    weights_bytes = sum(
        held.weights_bytes
        for report in outcome.models.values()
        for name, held in report.buffers.items()
        if name != "host"
    )
    assert phases["idle"] == 0
    assert phases["load chat"] < phases["load code"] == phases["load"] == phases["prefill"] == phases["together"]
    assert phases["unload"] == pytest.approx(weights_bytes, abs=0.02 * MIB)


def test_a_refusal_ends_the_worker_and_the_next_trial_is_clean(resident: Resident) -> None:
    before = resident.outcomes[0]
    (worker,) = workers()
    too_large = SplitSettings.of(
        {
            name: EngineSettings(n_gpu_layers=31, n_ctx=65536, n_batch=64, n_ubatch=64, n_threads=1)
            for name in ("chat", "code")
        }
    )
    assert resident.runner.run(too_large, EFFORT).state == "infeasible"
    after = measured(resident.runner, ORDER[0])
    assert worker not in workers()
    assert before.vram is not None
    assert after.vram is not None
    assert (after.vram.peak_bytes, after.held["idle"].weights) == (before.vram.peak_bytes, ())
