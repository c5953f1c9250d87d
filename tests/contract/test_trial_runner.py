"""Every trial runner, the fakes and the real one, keeps the promises of the seam."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from layertune.devices.target import Target
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import FakeRunner, Noise, ReplayRunner
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress
from layertune.trial.outcome import OUTCOME, Infeasible, Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.trial.runners import TrialRunner
from layertune.units import MIB
from small_table import table

pytestmark = pytest.mark.slow

CAP_BYTES = 330 * MIB
EFFORT = Effort(2, 4, 0.5)


def split(chat: int, code: int) -> SplitSettings:
    def engine(n_gpu_layers: int) -> EngineSettings:
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=256, n_batch=32, n_ubatch=32, n_threads=1)

    return SplitSettings.of({"chat": engine(chat), "code": engine(code)})


@pytest.fixture(scope="module", params=["fake", "replay", "emulated card"])
def runner(request: pytest.FixtureRequest) -> Iterator[TrialRunner]:
    if request.param == "fake":
        yield FakeRunner(cap_bytes=CAP_BYTES, noise=Noise(repeat=0.01))
        return
    if request.param == "replay":
        yield ReplayRunner(table(repeats=(0.98, 0.99, 1.01, 1.02)), CAP_BYTES)
        return
    request.getfixturevalue("needs_rpc")
    pair: dict[str, Path] = request.getfixturevalue("demo_pair")
    target = Target("emulated", "emulated card", vram_bytes=CAP_BYTES, n_threads=2)
    paths = {name: str(path) for name, path in pair.items()}
    with closing(ProcessTrialRunner(TrialContext(target, paths, dict.fromkeys(paths, (8, 2)), 0, 300.0))) as real:
        yield real


def test_settings_that_fit_are_measured_for_every_model(runner: TrialRunner) -> None:
    outcome = runner.run(split(5, 2), EFFORT)
    assert isinstance(outcome, Measured)
    assert outcome.models.keys() == {"chat", "code"}
    assert outcome.vram is not None
    assert 0 < outcome.vram.peak_bytes <= CAP_BYTES
    assert outcome.duration_s > 0
    assert OUTCOME.validate_json(OUTCOME.dump_json(outcome)) == outcome


def test_settings_that_do_not_fit_are_infeasible_with_the_excess_bytes(runner: TrialRunner) -> None:
    outcome = runner.run(split(31, 19), EFFORT)
    assert isinstance(outcome, Infeasible)
    assert outcome.model in {"chat", "code"}
    assert outcome.excess_bytes is not None
    assert outcome.excess_bytes > 0


def test_the_same_settings_take_the_same_bytes_after_a_refusal(runner: TrialRunner) -> None:
    first = runner.run(split(5, 2), EFFORT)
    runner.run(split(31, 19), EFFORT)
    again = runner.run(split(5, 2), EFFORT)
    assert isinstance(first, Measured)
    assert isinstance(again, Measured)
    assert first.vram is not None
    assert again.vram is not None
    assert first.vram.peak_bytes == again.vram.peak_bytes


def test_repetitions_stay_within_the_effort(runner: TrialRunner) -> None:
    outcome = runner.run(split(5, 2), EFFORT)
    assert isinstance(outcome, Measured)
    for report in outcome.models.values():
        assert 2 <= len(report.samples.tokens_per_s) <= 4
        assert report.samples.ttft_s_beside_prefill == ()


def test_models_do_not_run_at_once_unless_requested(runner: TrialRunner) -> None:
    outcome = runner.run(split(5, 2), replace(EFFORT, together=False))
    assert isinstance(outcome, Measured)
    for report in outcome.models.values():
        assert len(report.samples.tokens_per_s) >= 2
        assert report.samples.tokens_per_s_together == ()


def test_each_model_is_timed_during_the_others_prompts_if_requested(runner: TrialRunner) -> None:
    outcome = runner.run(split(5, 2), replace(EFFORT, n_beside_prefill=2))
    assert isinstance(outcome, Measured)
    for report in outcome.models.values():
        assert len(report.samples.ttft_s_beside_prefill) == len(report.samples.tpot_s_beside_prefill) == 2


def test_a_trial_that_is_given_up_ends_after_the_minimum_of_repetitions_with_all_speeds(runner: TrialRunner) -> None:
    asked = []

    def give_up(progress: Progress) -> str:
        asked.append({name: len(samples.tokens_per_s) for name, samples in progress.models.items()})
        return "it is beaten"

    outcome = runner.run(split(5, 2), Effort(2, 9, 1e-9), give_up)
    assert isinstance(outcome, Measured)
    assert (outcome.stopped, asked) == ("it is beaten", [{"chat": 2, "code": 2}])
    for report in outcome.models.values():
        assert len(report.samples.tokens_per_s) == 2
        assert len(report.samples.tokens_per_s_together) >= 1


def test_preparing_does_not_change_the_measured_memory(runner: TrialRunner) -> None:
    runner.close()
    runner.prepare(split(5, 2))
    prepared = runner.run(split(5, 2), EFFORT)
    runner.close()
    fresh = runner.run(split(5, 2), EFFORT)
    assert isinstance(prepared, Measured)
    assert isinstance(fresh, Measured)
    assert prepared.vram is not None
    assert fresh.vram is not None
    assert prepared.vram.peak_bytes == fresh.vram.peak_bytes


def test_a_model_is_timed_at_half_and_full_context_if_requested_and_the_others_are_not(runner: TrialRunner) -> None:
    outcome = runner.run(split(5, 2), replace(EFFORT, at_depth={"code": None}))
    assert isinstance(outcome, Measured)
    code, chat = outcome.models["code"].samples, outcome.models["chat"].samples
    deep = ("pp_tokens_per_s_half", "tg_tokens_per_s_half", "turn_s", "pp_tokens_per_s_full", "tg_tokens_per_s_full")
    for quantity in (*deep, "fill_s"):
        (sample,) = getattr(code, quantity)
        assert sample > 0
        assert getattr(chat, quantity) == ()
    assert OUTCOME.validate_json(OUTCOME.dump_json(outcome)) == outcome
