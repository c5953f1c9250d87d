"""The plan against llama.cpp itself: what was projected is what a real load takes, on the emulated card."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from architectures import N_VOCAB, write
from pydantic import TypeAdapter

from layertune.devices.emulated.card import EmulatedCard
from layertune.devices.emulated.ledger import Ledger
from layertune.devices.projection_cache import Projections
from layertune.devices.projection_process import Question, ask
from layertune.devices.target import Target
from layertune.engine.context import Context
from layertune.engine.model import Model
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
# Of some layers, of the output, and the embedding, which may be the output layer, too; in any architecture.
OVERRIDES = ("blk[.][0-3][.](attn_q|ffn_down|ssm_in|shortconv)=CPU", "^output=CPU", "token_embd=CPU")


def engine(n_gpu_layers: int, **changes: Any) -> EngineSettings:
    base = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=512, n_batch=32, n_ubatch=32, n_threads=1)
    return replace(base, **changes)


def projections(path: Path, cache: Path) -> Projections:
    return Projections(CARD, {"model": read_shape(path)}, cache=cache)


def memory(path: Path, cache: Path, *settings: EngineSettings, shape: ModelShape | None = None) -> ModelMemory:
    asked = projections(path, cache)
    asked.learn({"model": settings})
    return ModelMemory(shape or read_shape(path), asked.inventory("model"), lambda key: asked.project("model", key))


def stranger(shape: ModelShape) -> ModelShape:
    """Return the shape of an architecture that has no rules here."""
    metadata = {key.replace(shape.architecture, "stranger"): value for key, value in shape.metadata.items()}
    return replace(shape, architecture="stranger", metadata=metadata)


@dataclass(frozen=True)
class OpenCard:
    """A card for one model after the other."""

    ledger: Ledger
    device: EmulatedCard

    def load(self, path: Path, settings: EngineSettings) -> tuple[dict[str, BufferBytes], int]:
        """Return llama.cpp's own buffer lines, and the card's peak once a full physical batch was decoded."""
        self.ledger.reset_peak()
        kept, devices = settings.placement.host_tensors, self.device.devices("model")
        with (
            closing(Model(path, settings.n_gpu_layers, devices, host_tensors=kept)) as model,
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
    assert planned.devices[GPU].total_bytes == pytest.approx(peak_bytes, abs=planned.log_error_bytes + LOG_ERROR_BYTES)


@pytest.mark.parametrize("name", ["chat", "code"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"flash_attn": "off", "n_parallel": 2},
        {"type_k": "q8_0", "type_v": "q4_0"},
        {"kv_offload": "off"},
        {"n_parallel": 2, "kv_unified": "on"},
    ],
)
def test_the_demo_pair_takes_what_was_planned(
    card: OpenCard, demo_pair: dict[str, Path], tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    settings = [engine(n_gpu_layers, **changes) for n_gpu_layers in (0, 1, 10, 99)]
    plan = memory(demo_pair[name], tmp_path, *settings)
    for each in settings:
        check(card, demo_pair[name], plan, each)


@pytest.mark.parametrize(
    "name",
    ["llama", "qwen2-tied", "qwen3moe", "gemma2", "deepseek2", "mamba", "lfm2", "falcon-h1", "openelm", "nanbeige"],
)
def test_every_kind_of_architecture_takes_what_was_planned(card: OpenCard, tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    write(name, path)
    settings, others = (
        engine(4),
        (
            engine(6, n_cpu_ffn=3),
            engine(4, kv_offload="off"),
            engine(4, op_offload="off"),
            engine(4, n_parallel=2, kv_unified="on"),
            engine(6, tensor_overrides=OVERRIDES),
        ),
    )
    plan = memory(path, tmp_path, settings, *others)
    assert plan.plan(settings).kv_source == ("computed" if name != "nanbeige" else "llama.cpp")
    for each in (settings, *others):
        check(card, path, plan, each)


@pytest.mark.parametrize("n_gpu_layers", [1, 3, 6, 7])
def test_per_layer_embeddings_take_what_was_planned(card: OpenCard, tmp_path: Path, n_gpu_layers: int) -> None:
    """per_layer_model_proj is on the device with layer 0 only, not with the output layer."""
    path = tmp_path / "model.gguf"
    write("gemma4", path)
    settings = engine(n_gpu_layers)
    check(card, path, memory(path, tmp_path, settings), settings)


@pytest.mark.parametrize("name", ["openelm", "deci"])
@pytest.mark.parametrize("changes", [{}, {"flash_attn": "off"}])
def test_layers_of_unequal_heads_take_what_was_planned_where_they_are(
    card: OpenCard, tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    path = tmp_path / "model.gguf"
    write(name, path)
    shape = stranger(read_shape(path))
    for plan in (memory(path, tmp_path, engine(3, **changes)), memory(path, tmp_path, shape=shape)):
        check(card, path, plan, engine(3, **changes))


def test_an_encoder_s_embedding_is_not_planned_twice(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write("bert", path)
    asked = Projections(CARD, {"model": read_shape(path)}, n_outputs=32, cache=tmp_path)
    plan = ModelMemory(read_shape(path), asked.inventory("model"), lambda key: asked.project("model", key))
    for n_gpu_layers in (1, 4, 7):
        device = EmulatedCard(ledger := Ledger.create(CARD.vram_bytes or 0), ["model"], 1)
        with closing(ledger), closing(device), closing(Model(path, n_gpu_layers, device.devices("model"))) as model:
            held = model.buffers[GPU].weights_bytes
        assert plan.plan(engine(n_gpu_layers)).devices[GPU].weights_bytes == pytest.approx(held, abs=LOG_ERROR_BYTES)


def test_a_tensor_that_is_read_lazily_is_on_the_host(tmp_path: Path) -> None:
    """src/llama-model-loader.cpp, lazy_read: over 4 GiB its rows are read when they are needed."""
    path, n_vocab = tmp_path / "model.gguf", 2_900_000
    write("gemma4", path)
    shape = read_shape(path)
    larger = [
        replace(each, shape=(each.shape[0], n_vocab), n_bytes=each.n_bytes * n_vocab // each.shape[1])
        if each.shape[-1] == N_VOCAB
        else each
        for each in shape.tensors
    ]
    write_skeleton(replace(shape, tensors=tuple(larger)), path)
    path_shape = read_shape(path)
    lazy = next(each for each in path_shape.tensors if each.name == "per_layer_token_embd.weight")
    assert lazy.n_bytes > 4 * GIB
    asked = Projections(Target("cpu", "CPU"), {"model": path_shape}, cache=tmp_path)
    plan = ModelMemory(path_shape, asked.inventory("model"), lambda key: asked.project("model", key))
    with closing(Model(path, 0, [])) as model:
        planned = plan.plan(engine(0)).devices[HOST].weights_bytes
        assert planned == pytest.approx(model.buffers[HOST].weights_bytes, abs=3 * LOG_ERROR_BYTES)


def test_a_model_whose_every_setting_ends_llama_cpp_is_refused(tmp_path: Path) -> None:
    """It loads, and llama.cpp aborts when it builds a graph: plm has no shapes that it computes with."""
    path = tmp_path / "model.gguf"
    write("plm", path)
    settings = tuple(engine(2, n_ctx=256 * n).memory_key(6) for n in range(1, 11))
    with pytest.raises(BuildError, match=r"cannot project the memory of .*model\.gguf: .*GGML_ASSERT"):
        ask([Question(CARD, str(path), settings)])


@pytest.mark.parametrize("name", ["gemma2", "lfm2", "mamba"])
def test_an_architecture_without_rules_is_planned_by_llama_cpps_word(card: OpenCard, tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    write(name, path)
    settings = engine(4)
    plan = memory(path, tmp_path, settings, shape=stranger(read_shape(path)))
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
    assert again.inventory("model") == asked.inventory("model")


def test_a_damaged_cache_is_asked_anew(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    key = engine(3).memory_key(30)
    first = projections(demo_pair["chat"], tmp_path).project("model", key)
    (store,) = (tmp_path / "projections").iterdir()
    for damage in ("", "[]", "{", store.read_text().replace('"host"', '"gone"').replace("compute_bytes", "computed")):
        store.write_text(damage)
        damaged = projections(demo_pair["chat"], tmp_path)
        assert damaged.project("model", key) == first
        assert damaged.inventory("model").tensors


def test_a_model_that_llama_cpp_does_not_know_is_refused_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write("llama", path)
    path.write_bytes(path.read_bytes().replace(b"llama", b"lhama"))
    with pytest.raises(BuildError, match=r"unknown model architecture: 'lhama'"):
        projections(path, tmp_path).inventory("model")


ABORTS = """
import os, sys
from layertune.engine import no_alloc
no_alloc.read_inventory = lambda *_: os.abort()
from layertune.devices.projection_process import main
main([str(os.getppid())])
"""


def test_a_projection_that_aborts_leaves_nothing_behind(demo_pair: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    question = Question(CARD, str(demo_pair["code"]), ())
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    answer = subprocess.run(
        [sys.executable, "-c", ABORTS],
        input=TypeAdapter(Question).dump_json(question),
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert answer.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == [tmp_path / "temporary"]  # nor a core file
    assert list((tmp_path / "temporary").iterdir()) == []
