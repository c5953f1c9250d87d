"""The plan against llama.cpp itself: what was projected is what a real load takes, on the emulated card."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from architectures import ARCHITECTURES, write

from layertune.devices.emulated.card import EmulatedCard
from layertune.devices.emulated.ledger import Ledger
from layertune.devices.projection import Question, ask
from layertune.devices.projections import Projections
from layertune.devices.target import Target
from layertune.engine.context import Context
from layertune.engine.model import Model, expert_tensors
from layertune.errors import BuildError
from layertune.memory import GPU, HOST, BufferBytes, ModelMemory
from layertune.memory.buffers import LOG_ERROR_BYTES
from layertune.models import ModelShape, read_shape
from layertune.models.skeleton import write_skeleton
from layertune.settings import EngineSettings
from layertune.units import GIB, MIB

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

CARD = Target("emulated", "emulated card", vram_bytes=8 * GIB, n_threads=1)
PARTS = ("weights_bytes", "kv_bytes", "compute_bytes", "output_bytes")


def engine(n_gpu_layers: int, **changes: Any) -> EngineSettings:
    base = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=512, n_batch=32, n_ubatch=32, n_threads=1)
    return replace(base, **changes)


def projections(path: Path, cache: Path) -> Projections:
    return Projections(CARD, {"model": read_shape(path)}, cache=cache)


def memory(path: Path, cache: Path, *settings: EngineSettings, shape: ModelShape | None = None) -> ModelMemory:
    asked = projections(path, cache)
    asked.learn({"model": settings})
    return ModelMemory(shape or read_shape(path), asked.anatomy("model"), lambda key: asked.project("model", key))


@dataclass(frozen=True)
class OpenCard:
    """A card for one model after the other."""

    ledger: Ledger
    device: EmulatedCard

    def load(self, path: Path, settings: EngineSettings) -> tuple[dict[str, BufferBytes], int]:
        """Return llama.cpp's own buffer lines, and the card's peak once a full physical batch was decoded."""
        self.ledger.reset_peak()
        experts, devices = expert_tensors(settings.n_cpu_moe), self.device.devices("model")
        with (
            closing(Model(path, settings.n_gpu_layers, devices, host_tensors=experts)) as model,
            closing(Context(model, settings)) as context,
        ):
            context.prefill(np.zeros(settings.n_ubatch, dtype=np.int32))
        self.device.settle()
        card = self.ledger.state()
        assert card.used_bytes == 0
        buffers = {
            device: model.buffers.get(device, BufferBytes()) + context.buffers.get(device, BufferBytes())
            for device in (GPU, HOST)
        }
        return buffers, card.peak_bytes


@pytest.fixture(scope="module")
def card(needs_rpc: None) -> Iterator[OpenCard]:
    ledger = Ledger.create(CARD.vram_bytes or 0)
    device = EmulatedCard(ledger, ["model"], 1)
    yield OpenCard(ledger, device)
    device.close()
    ledger.close()


def check(card: OpenCard, path: Path, plan: ModelMemory, settings: EngineSettings) -> None:
    planned = plan.plan(settings)
    buffers, peak_bytes = card.load(path, settings)
    for device, held in buffers.items():
        for part in PARTS:
            error_bytes = getattr(planned.devices[device], part) - getattr(held, part)
            assert abs(error_bytes) <= 0.1 * MIB, (device, part)
    assert planned.devices[GPU].total_bytes == pytest.approx(peak_bytes, abs=2 * LOG_ERROR_BYTES)


@pytest.mark.parametrize("name", ["chat", "code"])
@pytest.mark.parametrize("changes", [{}, {"flash_attn": "off", "n_parallel": 2}, {"type_k": "q8_0", "type_v": "q4_0"}])
def test_the_demo_pair_takes_what_was_planned(
    card: OpenCard, demo_pair: dict[str, Path], tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    settings = [engine(n_gpu_layers, **changes) for n_gpu_layers in (0, 1, 10, 99)]
    plan = memory(demo_pair[name], tmp_path, *settings)
    for each in settings:
        check(card, demo_pair[name], plan, each)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_kind_of_architecture_takes_what_was_planned(card: OpenCard, tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    write(name, path)
    settings = engine(4)
    plan = memory(path, tmp_path, settings)
    assert plan.plan(settings).kv_source == "computed"
    check(card, path, plan, settings)


def test_experts_kept_on_the_host_are_planned_there(card: OpenCard, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write("qwen3moe", path)
    settings = engine(99, n_cpu_moe=4)
    check(card, path, memory(path, tmp_path, settings), settings)


@pytest.mark.parametrize("name", ["gemma2", "lfm2", "mamba"])
def test_an_architecture_without_rules_is_planned_by_llama_cpps_word(card: OpenCard, tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    write(name, path)
    shape = read_shape(path)
    prefix = shape.architecture
    stranger = replace(
        shape,
        architecture="stranger",
        metadata={key.replace(prefix, "stranger"): value for key, value in shape.metadata.items()},
    )
    settings = engine(4)
    plan = memory(path, tmp_path, settings, shape=stranger)
    assert plan.plan(settings).kv_source == "llama.cpp"
    check(card, path, plan, settings)


def test_a_skeleton_projects_what_the_model_does(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    shape = read_shape(demo_pair["code"])
    skeleton = tmp_path / "skeleton.gguf"
    write_skeleton(shape, skeleton)
    assert skeleton.stat().st_size < shape.file_bytes
    assert skeleton.stat().st_blocks * 512 < MIB  # a hole in place of the weights
    settings = (engine(0).memory_key(shape.n_layer), engine(9).memory_key(shape.n_layer))
    questions = [Question(CARD, str(demo_pair["code"]), settings, whole=whole) for whole in (False, True)]
    by_skeleton, by_model = ask(questions)
    assert by_skeleton == by_model


def test_what_was_asked_once_is_known_without_the_model(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.symlink_to(demo_pair["chat"])
    asked = projections(path, tmp_path)
    first = asked.project("model", engine(3).memory_key(30))
    again = projections(path, tmp_path)
    path.unlink()
    assert again.project("model", engine(3).memory_key(30)) == first
    assert again.anatomy("model") == asked.anatomy("model")


def test_a_damaged_cache_is_asked_anew(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    key = engine(3).memory_key(30)
    first = projections(demo_pair["chat"], tmp_path).project("model", key)
    (store,) = (tmp_path / "projections").iterdir()
    for damage in ("", "[]", "{", store.read_text().replace('"host"', '"gone"').replace("compute_bytes", "computed")):
        store.write_text(damage)
        damaged = projections(demo_pair["chat"], tmp_path)
        assert damaged.project("model", key) == first
        assert damaged.anatomy("model").tensors


def test_a_model_that_llama_cpp_does_not_know_is_refused_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write("llama", path)
    path.write_bytes(path.read_bytes().replace(b"llama", b"lhama"))
    with pytest.raises(BuildError, match=r"unknown model architecture: 'lhama'"):
        projections(path, tmp_path).anatomy("model")
