"""Models that share a device must not disturb each other: on the emulated card and on the CPU alone.

The numbers of a run are compared step by step: the same tokens must give the same logits, whether a model runs alone,
beside the other, or after the other's context was made anew.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from layertune.devices.opened import LocalDevice, OpenDevice
from layertune.devices.target import Target
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.settings import EngineSettings
from layertune.units import GIB

pytestmark = pytest.mark.slow

N_STEPS = 24
N_GPU_LAYERS = {"chat": 12, "code": 19}


def settings(name: str, n_ctx: int = 256, n_ubatch: int = 32) -> EngineSettings:
    return EngineSettings(
        n_gpu_layers=N_GPU_LAYERS[name], n_ctx=n_ctx, n_batch=n_ubatch, n_ubatch=n_ubatch, n_threads=1
    )


class Pair:
    """Both models resident on one device, each with a context."""

    def __init__(self, device: OpenDevice, paths: dict[str, Path]) -> None:
        self.device = device
        self.models = {name: Model(path, N_GPU_LAYERS[name], device.devices(name)) for name, path in paths.items()}
        self.contexts = {name: Context(model, settings(name)) for name, model in self.models.items()}

    def logits(self, name: str) -> NDArray[np.float32]:
        """Decode a fixed prompt and N_STEPS tokens from an empty context; return each step's logits."""
        context, generator = self.contexts[name], np.random.default_rng(7)
        tokens = generator.integers(0, self.models[name].n_vocab, size=16 + N_STEPS, dtype=np.int32)
        context.clear()
        context.prefill(tokens[:16])
        steps = [context.logits()]
        for token in tokens[16:]:
            context.step(int(token))
            steps.append(context.logits())
        return np.stack(steps)

    def renew(self, name: str, n_ctx: int, n_ubatch: int) -> None:
        self.contexts[name].close()
        self.contexts[name] = Context(self.models[name], settings(name, n_ctx, n_ubatch))

    def close(self) -> None:
        for context in self.contexts.values():
            context.close()
        for model in self.models.values():
            model.close()
        self.device.settle()


@pytest.fixture(scope="module", params=["cpu", "emulated"])
def pair(request: pytest.FixtureRequest, demo_pair: dict[str, Path]) -> Iterator[Pair]:
    if request.param == "cpu":
        device: OpenDevice = LocalDevice(Target("cpu", "CPU"))
        pair = Pair(device, demo_pair)
        yield pair
        pair.close()
        return
    if sys.platform == "win32":
        pytest.skip("the emulated card needs POSIX record locks")
    request.getfixturevalue("needs_rpc")
    from layertune.devices.emulated.card import EmulatedCard
    from layertune.devices.emulated.ledger import Ledger

    ledger = Ledger.create(GIB)
    device = EmulatedCard(ledger, list(demo_pair), n_threads=2)
    pair = Pair(device, demo_pair)
    yield pair
    pair.close()
    used_bytes = ledger.state().used_bytes
    device.close()
    ledger.close()
    assert used_bytes == 0


def test_models_generating_together_give_the_logits_that_they_give_alone(pair: Pair) -> None:
    alone = {name: pair.logits(name) for name in pair.models}
    for _ in range(3):
        with ThreadPoolExecutor(len(alone)) as pool:
            together = dict(zip(alone, pool.map(pair.logits, alone), strict=True))
        for name, logits in alone.items():
            np.testing.assert_array_equal(together[name], logits)


def test_a_new_context_of_one_model_leaves_the_other_as_it_was(pair: Pair) -> None:
    before = {name: pair.logits(name) for name in pair.models}
    for n_ctx, n_ubatch in ((512, 16), (1024, 32), (256, 32)):
        pair.renew("chat", n_ctx, n_ubatch)
        np.testing.assert_array_equal(pair.logits("code"), before["code"])
        np.testing.assert_allclose(pair.logits("chat"), before["chat"], atol=1e-2)


def test_logits_are_finite_and_depend_on_the_model(pair: Pair) -> None:
    logits = {name: pair.logits(name) for name in pair.models}
    assert all(np.isfinite(values).all() for values in logits.values())
    assert logits["chat"].shape != logits["code"].shape
