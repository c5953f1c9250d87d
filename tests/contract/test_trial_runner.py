"""Every trial runner, the fake and the real one, keeps the promises of the seam."""

from pathlib import Path

import pytest

from layertune.devices.target import Target
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import FakeRunner
from layertune.trial.outcome import OUTCOME, Infeasible, Measured
from layertune.trial.process import ProcessTrialRunner, Workplace
from layertune.trial.runner import TrialRunner
from layertune.units import MIB

pytestmark = pytest.mark.slow

CAP_BYTES = 330 * MIB


def split(chat: int, code: int) -> SplitSettings:
    def engine(n_gpu_layers: int) -> EngineSettings:
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=256, n_batch=32, n_ubatch=32, n_threads=1)

    return SplitSettings.of({"chat": engine(chat), "code": engine(code)})


@pytest.fixture(params=["fake", "emulated card"])
def runner(request: pytest.FixtureRequest) -> TrialRunner:
    if request.param == "fake":
        return FakeRunner(cap_bytes=CAP_BYTES)
    request.getfixturevalue("needs_rpc")
    pair: dict[str, Path] = request.getfixturevalue("demo_pair")
    target = Target("emulated", "emulated card", vram_bytes=CAP_BYTES, n_threads=2)
    paths = {name: str(path) for name, path in pair.items()}
    return ProcessTrialRunner(Workplace(target, paths, dict.fromkeys(paths, (8, 2)), 0, 2, 120.0))


def test_what_fits_is_measured_with_figures_for_every_model(runner: TrialRunner) -> None:
    outcome = runner.run(split(5, 2))
    assert isinstance(outcome, Measured)
    assert outcome.models.keys() == {"chat", "code"}
    assert outcome.vram is not None
    assert 0 < outcome.vram.peak_bytes <= CAP_BYTES
    assert outcome.duration_s > 0
    assert OUTCOME.validate_json(OUTCOME.dump_json(outcome)) == outcome


def test_what_does_not_fit_is_infeasible_by_how_many_bytes(runner: TrialRunner) -> None:
    outcome = runner.run(split(31, 19))
    assert isinstance(outcome, Infeasible)
    assert outcome.model in {"chat", "code"}
    assert outcome.excess_bytes is not None
    assert outcome.excess_bytes > 0


def test_the_same_settings_take_the_same_bytes_after_a_refusal(runner: TrialRunner) -> None:
    first = runner.run(split(5, 2))
    runner.run(split(31, 19))
    again = runner.run(split(5, 2))
    assert isinstance(first, Measured)
    assert isinstance(again, Measured)
    assert first.vram is not None
    assert again.vram is not None
    assert first.vram.peak_bytes == again.vram.peak_bytes
