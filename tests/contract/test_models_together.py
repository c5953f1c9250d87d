"""Models that share a device must not disturb each other: on the emulated card and on the CPU alone.

The numbers of a run are compared step by step: the same tokens must give the same logits, whether a model runs alone,
together with the other, or after the other's context was created again.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from layertune.devices.open_device import LocalDevice, OpenDevice, open_device
from layertune.devices.target import Target
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.settings import EngineSettings
from layertune.tensor_split import TensorSplit
from layertune.units import GIB

pytestmark = pytest.mark.slow

N_STEPS = 24
N_GPU_LAYERS = {"chat": 12, "code": 19}


def settings(name: str, n_ctx: int = 256, n_ubatch: int = 32) -> EngineSettings:
    return EngineSettings(
        n_gpu_layers=N_GPU_LAYERS[name], n_ctx=n_ctx, n_batch=n_ubatch, n_ubatch=n_ubatch, n_threads=1
    )


class Pair:
    """Both models resident, each with a context; over several devices as `tensor_split` says."""

    def __init__(self, device: OpenDevice, paths: dict[str, Path], tensor_split: TensorSplit = ()) -> None:
        self.device = device
        self.models = {
            name: Model(path, N_GPU_LAYERS[name], device.devices(name), tensor_split=tensor_split)
            for name, path in paths.items()
        }
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


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["cpu", "emulated", "two emulated"])
def pair(request: pytest.FixtureRequest, demo_pair: dict[str, Path]) -> Iterator[Pair]:
    n_cards: int = request.param
    if n_cards == 0:
        pair = Pair(LocalDevice(Target("cpu", "CPU")), demo_pair)
        yield pair
        pair.close()
        return
    if sys.platform == "win32":
        pytest.skip("the emulated card needs POSIX record locks")
    request.getfixturevalue("needs_rpc")
    from layertune.devices.emulated.ledger import Ledger

    ledgers = [Ledger.create(GIB) for _ in range(n_cards)]
    target = Target.composite([Target("emulated", "emulated card", vram_bytes=GIB, n_threads=2)] * n_cards)
    device = open_device(target, list(demo_pair), [ledger.descriptor for ledger in ledgers])
    pair = Pair(device, demo_pair, (1.0,) * n_cards)
    yield pair
    assert all(ledger.state().used_bytes > 0 for ledger in ledgers)
    pair.close()
    used_bytes = [ledger.state().used_bytes for ledger in ledgers]
    device.close()
    for ledger in ledgers:
        ledger.close()
    assert used_bytes == [0] * n_cards


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
