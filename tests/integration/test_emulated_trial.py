"""Real trials: real llama.cpp, the real demo pair, the emulated card."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from layertune.devices.target import Target
from layertune.memory.buffers import HOST
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Failed, Infeasible, Measured, TrialOutcome
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB

EFFORT = Effort(2, 2, 0.5)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]


def split(chat: int, code: int) -> SplitSettings:
    def engine(n_gpu_layers: int) -> EngineSettings:
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=256, n_batch=16, n_ubatch=16, n_threads=1)

    return SplitSettings.of({"chat": engine(chat), "code": engine(code)})


SOME_LAYERS = split(12, 7)


def run(
    demo_pair: dict[str, Path],
    target: Target,
    settings: SplitSettings,
    timeout_s: float = 300,
    effort: Effort = EFFORT,
) -> TrialOutcome:
    paths = {name: str(path) for name, path in demo_pair.items()}
    place = TrialContext(target, paths, dict.fromkeys(paths, (8, 2)), 0, timeout_s)
    with closing(ProcessTrialRunner(place)) as runner:
        return runner.run(settings, effort)


def card(size_mib: float) -> Target:
    return Target("emulated", "emulated card", vram_bytes=round(size_mib * MIB), n_threads=2)


def measured(outcome: TrialOutcome) -> Measured:
    assert isinstance(outcome, Measured), outcome
    return outcome


def device_bytes(outcome: Measured) -> int:
    return sum(
        held.total_bytes for model in outcome.models.values() for name, held in model.buffers.items() if name != HOST
    )


@pytest.fixture(scope="module")
def first(needs_rpc: None, demo_pair: dict[str, Path]) -> Measured:
    """Some layers of both models on a card that has room for all."""
    return measured(run(demo_pair, card(1024), SOME_LAYERS))


def test_the_ledgers_peak_is_llama_cpps_own_buffer_lines_and_the_same_again(
    first: Measured, demo_pair: dict[str, Path]
) -> None:
    again = measured(run(demo_pair, card(1024), SOME_LAYERS))
    assert first.vram is not None
    assert again.vram is not None
    assert first.vram.peak_bytes == pytest.approx(device_bytes(first), abs=0.1 * MIB)
    assert again.vram.peak_bytes == first.vram.peak_bytes
    assert first.vram.phases["idle"] == 0
    assert (first.vram.scope, first.vram.source) == ("card", "ledger")


def test_filling_the_contexts_to_the_last_token_takes_no_memory_that_the_peak_lacks(
    first: Measured, demo_pair: dict[str, Path]
) -> None:
    deep = replace(EFFORT, at_depth={"chat": None, "code": None})
    filled = measured(run(demo_pair, card(1024), SOME_LAYERS, effort=deep))
    assert first.vram is not None
    assert filled.vram is not None
    assert "full context" not in first.vram.phases
    assert first.vram.peak_bytes == filled.vram.phases["full context"] == filled.vram.peak_bytes
    for report in filled.models.values():
        assert min(report.samples.turn_s + report.samples.tg_tokens_per_s_full) > 0


def test_a_context_that_takes_longer_to_fill_than_allowed_is_left_out_with_a_warning(
    demo_pair: dict[str, Path],
) -> None:
    outcome = measured(run(demo_pair, card(1024), SOME_LAYERS, effort=replace(EFFORT, at_depth={"chat": 1e-6})))
    assert outcome.models["chat"].samples.turn_s == ()
    (warning,) = (each for each in outcome.warnings if "at full context" in each)
    assert warning.startswith("chat was not timed at full context: filling its 256 tokens takes more than ")


def test_every_repetition_of_every_model_is_kept(demo_pair: dict[str, Path]) -> None:
    outcome = measured(run(demo_pair, card(1024), split(31, 19)))
    for report in outcome.models.values():
        assert len(report.samples.pp_tokens_per_s) == len(report.samples.tokens_per_s) == 2
        assert len(report.samples.tokens_per_s_together) >= 2
        assert report.flash_attn is True
        for pp, tg, tokens_per_s in zip(
            report.samples.pp_tokens_per_s, report.samples.tg_tokens_per_s, report.samples.tokens_per_s, strict=True
        ):
            assert tokens_per_s == pytest.approx(2 / (8 / pp + 2 / tg))


def test_no_layer_on_the_card_takes_no_byte_of_it(demo_pair: dict[str, Path]) -> None:
    outcome = measured(run(demo_pair, card(64), split(0, 0)))
    assert outcome.vram is not None
    assert (outcome.vram.peak_bytes, device_bytes(outcome)) == (0, 0)


def test_one_byte_too_few_is_refused_at_the_last_buffer_and_the_exact_size_is_not(
    first: Measured, demo_pair: dict[str, Path]
) -> None:
    needed = first.vram
    assert needed is not None
    assert isinstance(run(demo_pair, card(needed.peak_bytes / MIB), SOME_LAYERS), Measured)
    refused = run(demo_pair, card((needed.peak_bytes - 1) / MIB), SOME_LAYERS)
    assert isinstance(refused, Infeasible)
    assert (refused.stage, refused.model, refused.excess_bytes) == ("compute", "code", 1)
    assert "failed to allocate" in refused.evidence


def test_weights_that_do_not_fit_are_refused_at_load(demo_pair: dict[str, Path]) -> None:
    refused = run(demo_pair, card(150), split(31, 19))
    assert isinstance(refused, Infeasible)
    assert (refused.stage, refused.model) == ("load", "code")


def test_the_same_trial_runs_on_the_cpu_alone(demo_pair: dict[str, Path]) -> None:
    outcome = measured(run(demo_pair, Target("cpu", "CPU"), split(0, 0)))
    assert outcome.vram is None
    assert outcome.models["chat"].buffers.keys() == {HOST}


def test_a_model_file_that_llama_cpp_does_not_load_has_failed(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(demo_pair["chat"].read_bytes()[:1_000_000])
    outcome = run(demo_pair | {"chat": broken}, Target("cpu", "CPU"), split(0, 0))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.log_tail != ()) == ("error", True)


def test_a_trial_that_cannot_end_in_time_is_hung(demo_pair: dict[str, Path]) -> None:
    outcome = run(demo_pair, card(1024), split(1, 1), timeout_s=0.5)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "hung"
