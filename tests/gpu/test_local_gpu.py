"""The trial code on a real GPU. Not run on one yet."""

from contextlib import closing
from pathlib import Path

import pytest

from layertune.config.device import DeviceChoice
from layertune.devices.inspection import inspect
from layertune.devices.target import Target, find_target
from layertune.memory.buffers import HOST
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.trial.process import ProcessTrialRunner, Workplace

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu() -> Target:
    if not inspect().gpus:
        pytest.skip("llama.cpp sees no GPU here")
    return find_target(DeviceChoice.parse("gpu:0"), 1)


def test_the_demo_pair_is_measured_on_the_gpu(gpu: Target, demo_pair: dict[str, Path]) -> None:
    engine = EngineSettings(n_gpu_layers=99, n_ctx=1024, n_batch=512, n_ubatch=512, n_threads=2)
    paths = {name: str(path) for name, path in demo_pair.items()}
    place = Workplace(gpu, paths, dict.fromkeys(paths, (64, 16)), 0, 300.0)
    with closing(ProcessTrialRunner(place)) as runner:
        outcome = runner.run(SplitSettings.of(dict.fromkeys(paths, engine)), Effort(3, 3, 0.02))
    assert isinstance(outcome, Measured), outcome
    assert outcome.vram is not None
    buffers = sum(
        held.total_bytes for model in outcome.models.values() for name, held in model.buffers.items() if name != HOST
    )
    assert outcome.vram.peak_bytes >= buffers  # the device context comes on top
