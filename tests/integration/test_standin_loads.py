"""Stand-ins are models to llama.cpp: they load, tokenize any text, and compute finite numbers."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from layertune.engine import library, timing
from layertune.engine.context import Context
from layertune.engine.model import Model
from layertune.engine.sampling import Sampler
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.settings import EngineSettings

TINY = KnownModel("tiny", 4, 256, 512, 4, 2, n_vocab=2000, tied=False)
TEXT = "안녕하세요 def f(x):\n\treturn 'ünïcödé' 🙂"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    known_standin(TINY).write(path)
    return Model(path, 0, [])


def test_a_stand_in_generates_finite_logits_that_are_not_all_the_same(model: Model) -> None:
    context = Context(model, EngineSettings(n_gpu_layers=0, n_ctx=256, n_batch=64, n_ubatch=64, n_threads=1))
    sampler = Sampler(0)
    timed = timing.run(context, sampler, timing.Request.random(64, 16, model.n_vocab, np.random.default_rng(0)))
    logits = context.logits()
    assert np.isfinite(logits).all()
    assert logits.std() > 0
    assert timed.decode_tokens_per_s > timed.tg_tokens_per_s  # the latter includes sampling
    sampler.close()
    context.close()


def test_the_samplers_choose_among_the_tokens_that_llama_server_s_defaults_keep(model: Model) -> None:
    context = Context(model, EngineSettings(n_gpu_layers=0, n_ctx=256, n_batch=64, n_ubatch=64, n_threads=1))
    context.prefill(np.arange(64, dtype=np.int32))
    sampler = Sampler(1)
    sampled = {sampler.sample(context) for _ in range(500)}
    assert len(sampled) > 1
    assert sampled <= kept_by_default(context.logits())
    sampler.close()
    context.close()


def kept_by_default(logits: NDArray[np.float32]) -> set[int]:
    """Return the tokens that top-k 40, top-p 0.95 and min-p 0.05 keep, in this order."""
    order = np.argsort(-logits)[:40]
    probabilities = np.exp(logits[order] - logits[order[0]])
    probabilities /= probabilities.sum()
    order = order[: int(np.searchsorted(np.cumsum(probabilities), 0.95)) + 1]
    likely = probabilities[: len(order)] >= 0.05 * probabilities[0]
    return set(map(int, order[likely]))


def test_any_text_tokenizes_and_comes_back(model: Model) -> None:
    llama_cpp = library.load()
    vocabulary = llama_cpp.llama_model_get_vocab(model.pointer)
    raw = TEXT.encode()
    tokens = (ctypes.c_int32 * 200)()
    n_tokens = llama_cpp.llama_tokenize(vocabulary, raw, len(raw), tokens, len(tokens), False, True)
    back = b""
    for token in tokens[:n_tokens]:
        piece = ctypes.create_string_buffer(64)
        n_bytes = llama_cpp.llama_token_to_piece(vocabulary, token, piece, 64, 0, True)
        back += piece.raw[:n_bytes]
    assert back.decode() == TEXT


def test_llama_cpp_has_nothing_to_complain_about(tmp_path: Path) -> None:
    known_standin(TINY).write(tmp_path / "tiny.gguf")
    mark = library.log().mark()
    Model(tmp_path / "tiny.gguf", 0, []).close()
    assert library.log().first_error_since(mark) is None
    assert not [line for line in library.log().since(mark) if "token" in line and "not" in line.split()]
