"""The trial code on a real GPU, but for one test with stand-ins of a 0.5B and a 1.5B model, which need no download."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from layertune.config.device import DeviceChoice
from layertune.devices.inspection import inspect
from layertune.devices.open_device import OpenDevice, open_device
from layertune.devices.projection_cache import Projections
from layertune.devices.target import Target, find_target
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.errors import DeviceError
from layertune.memory import GPU, HOST, BufferBytes, ModelMemory
from layertune.memory.buffers import LOG_ERROR_BYTES
from layertune.models import read_shape
from layertune.models.known_models import find_known
from layertune.models.standin import known_standin
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Infeasible, Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB
from layertune.vram.nvml import open_reader

pytestmark = pytest.mark.gpu

PAIR = {"chat": "Qwen2.5-0.5B-Instruct", "code": "Qwen2.5-1.5B-Instruct"}
PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes")
EFFORT = Effort(3, 3, 0.02)
N_STEPS = 8
TOO_LONG = 2**24  # tokens; the cache of the 1.5B model would take 448 GiB


@pytest.fixture(scope="module")
def gpu() -> Target:
    if not inspect().gpus:
        pytest.skip("llama.cpp sees no GPU here")
    return find_target(DeviceChoice.parse("gpu:0"), 1)


@pytest.fixture(scope="module")
def pair(gpu: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {name: folder / f"{name}.gguf" for name in PAIR}
    for name, known in PAIR.items():
        known_standin(find_known(known)).write(paths[name])
    return paths


@pytest.fixture(scope="module")
def device(gpu: Target) -> Iterator[OpenDevice]:
    with closing(open_device(gpu, list(PAIR), ())) as opened:
        yield opened


def engine(n_gpu_layers: int, **changes: Any) -> EngineSettings:
    base = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=1024, n_batch=512, n_ubatch=512, n_threads=2)
    return replace(base, **changes)


def runner(gpu: Target, pair: dict[str, Path]) -> ProcessTrialRunner:
    paths = {name: str(path) for name, path in pair.items()}
    return ProcessTrialRunner(TrialContext(gpu, paths, dict.fromkeys(paths, (64, 16)), 0, 300.0))


def split(**n_gpu_layers: int) -> SplitSettings:
    return SplitSettings.of({name: engine(n) for name, n in n_gpu_layers.items()})


def device_bytes(outcome: Measured) -> int:
    return sum(
        held.total_bytes for model in outcome.models.values() for name, held in model.buffers.items() if name != HOST
    )


def test_both_models_are_measured_and_the_driver_counts_every_buffer(gpu: Target, pair: dict[str, Path]) -> None:
    with closing(runner(gpu, pair)) as trials:
        outcome = trials.run(split(chat=99, code=14), EFFORT)
    assert isinstance(outcome, Measured), outcome
    assert outcome.vram is not None
    phases = outcome.vram.phases
    assert phases["load"] - phases["idle"] >= device_bytes(outcome) > 0
    assert outcome.vram.peak_bytes >= phases["load"]
    for report in outcome.models.values():
        assert len(report.samples.tokens_per_s) == 3


def test_a_second_trial_takes_what_the_first_one_took(gpu: Target, pair: dict[str, Path]) -> None:
    with closing(runner(gpu, pair)) as trials:
        peaks = []
        for _ in range(2):
            outcome = trials.run(split(chat=10, code=10), EFFORT)
            assert isinstance(outcome, Measured), outcome
            assert outcome.vram is not None
            peaks.append(outcome.vram.peak_bytes)
    assert peaks[1] == pytest.approx(peaks[0], abs=64 * MIB)  # the driver's own part scatters


def test_what_the_gpu_has_no_memory_for_is_infeasible_and_the_next_trial_runs(
    gpu: Target, pair: dict[str, Path]
) -> None:
    huge = SplitSettings.of({"chat": engine(99), "code": engine(99, n_ctx=TOO_LONG)})
    with closing(runner(gpu, pair)) as trials:
        refused = trials.run(huge, EFFORT)
        assert isinstance(refused, Infeasible), refused
        assert refused.model == "code"
        assert isinstance(trials.run(split(chat=5, code=5), EFFORT), Measured)


def test_nothing_stays_on_the_gpu_after_a_runner_is_closed(gpu: Target, pair: dict[str, Path]) -> None:
    try:
        reader = open_reader(gpu.pci_bus_id or "")
    except DeviceError as error:
        pytest.skip(f"no driver tells what all programs hold here: {error}")
    before_bytes = reader.read().device_bytes
    with closing(runner(gpu, pair)) as trials:
        outcome = trials.run(split(chat=99, code=99), EFFORT)
    assert isinstance(outcome, Measured), outcome
    assert outcome.vram is not None
    assert outcome.vram.peak_bytes > 1000 * MIB
    end_s = monotonic() + 10
    while reader.read().device_bytes > before_bytes + 16 * MIB:  # a desktop moves by less
        assert monotonic() < end_s
        sleep(0.1)


@pytest.mark.parametrize("name", PAIR)
def test_a_model_takes_what_was_planned(
    gpu: Target, pair: dict[str, Path], device: OpenDevice, tmp_path: Path, name: str
) -> None:
    shape = read_shape(pair[name])
    settings = [engine(n, **changes) for n in (0, 1, 12, 99) for changes in ({}, {"n_parallel": 2, "n_ubatch": 128})]
    projections = Projections(gpu, {name: shape}, cache=tmp_path)
    projections.learn({name: settings})
    memory = ModelMemory(shape, projections.inventory(name), lambda key: projections.project(name, key))
    for each in settings:
        planned = memory.plan(each)
        with (
            closing(Model(pair[name], each.n_gpu_layers, device.devices(name))) as model,
            closing(Context(model, each)) as context,
        ):
            context.prefill(np.zeros(each.n_ubatch, dtype=np.int32))
            for place in (GPU, HOST):
                held = model.buffers.get(place, BufferBytes()) + context.buffers.get(place, BufferBytes())
                for part in PARTS:
                    error_bytes = getattr(planned.devices[place], part) - getattr(held, part)
                    assert abs(error_bytes) <= 4 * LOG_ERROR_BYTES, (each, place, part)


class Loaded:
    """One model with a context."""

    def __init__(self, path: Path, n_gpu_layers: int, device: OpenDevice) -> None:
        self.model = Model(path, n_gpu_layers, device.devices("chat"))
        self.context = Context(self.model, engine(n_gpu_layers))

    def logits(self) -> NDArray[np.float32]:
        """Decode a fixed prompt and N_STEPS tokens from an empty context; return each step's logits."""
        tokens = np.random.default_rng(7).integers(0, self.model.n_vocab, size=64 + N_STEPS, dtype=np.int32)
        self.context.clear()
        self.context.prefill(tokens[:64])
        steps = [self.context.logits()]
        for token in tokens[64:]:
            self.context.step(int(token))
            steps.append(self.context.logits())
        return np.stack(steps)

    def close(self) -> None:
        self.context.close()
        self.model.close()


@pytest.mark.parametrize("n_gpu_layers", [12, 99])
def test_the_gpu_computes_what_the_host_computes(
    demo_pair: dict[str, Path], device: OpenDevice, n_gpu_layers: int
) -> None:
    """With a real model: the logits of random weights are alike whatever the tokens."""
    with closing(Loaded(demo_pair["chat"], 0, device)) as loaded:
        assert loaded.model.buffers.get(GPU, BufferBytes()).weights_bytes == 0
        on_host = loaded.logits()
    with closing(Loaded(demo_pair["chat"], n_gpu_layers, device)) as loaded:
        assert loaded.model.buffers[GPU].weights_bytes > 0
        on_card = loaded.logits()
    # The two round activations differently (ggml-cuda's q8_1 and the host's q8_K), step after step.
    correlations = np.corrcoef(on_host, on_card)[: len(on_host), len(on_host) :]
    assert correlations.diagonal().min() > 0.98 > correlations[~np.eye(len(on_host), dtype=bool)].max()


def test_models_generating_together_give_the_logits_that_they_give_alone(
    pair: dict[str, Path], device: OpenDevice
) -> None:
    with closing(Loaded(pair["chat"], 99, device)) as chat, closing(Loaded(pair["code"], 14, device)) as code:
        alone = [each.logits() for each in (chat, code)]
        start = Barrier(2)

        def beside_the_other(each: Loaded) -> NDArray[np.float32]:
            start.wait()
            return each.logits()

        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(beside_the_other, (chat, code)))
    for by_itself, beside in zip(alone, together, strict=True):
        np.testing.assert_allclose(beside, by_itself, atol=1e-3)
