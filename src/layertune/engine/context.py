"""A context over a model, created with llama-server's parameters, and decoding in it."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from layertune.engine import library
from layertune.engine.buffer_log import read_buffers, read_flash_attention
from layertune.engine.model import Model
from layertune.engine.refusal import EngineRefused, refused_stage
from layertune.memory.buffers import HOST
from layertune.pooling import POOLING_NUMBERS
from layertune.settings import EngineSettings

# llama.h, enum llama_flash_attn_type
_FLASH_ATTENTION: Final = {"auto": -1, "off": 0, "on": 1}

Tokens = NDArray[np.int32]


class Context:
    """One context of one model.

    Attributes:
        buffers: The sizes of its buffers by device, as llama.cpp logged them. For embeddings the output buffer has the
            size that it grows to with the first full batch.
        flash_attn: Whether it uses flash attention; None if llama.cpp did not log its choice for `auto`.
        pointer: llama.cpp's `llama_context *`; None after `close`.
    """

    def __init__(self, model: Model, settings: EngineSettings, n_outputs: int | None = None) -> None:
        """Create the context.

        Args:
            model: The loaded model; close the context before it.
            settings: The model's settings.
            n_outputs: The largest number of tokens in a batch whose logits are computed. The default is llama-server's:
                one per slot, and for embeddings every token of a batch.

        Raises:
            EngineRefused: llama.cpp does not create the context.
        """
        self._llama_cpp = library.load()
        self._n_batch = settings.canonical(n_layer=settings.n_gpu_layers).n_batch
        self._n_vocab, self._n_pooled = model.n_vocab, model.n_scores if settings.pooling == "rank" else model.n_embd
        mark = library.log().mark()
        self.pointer: Any = self._llama_cpp.llama_init_from_model(model.pointer, self._parameters(settings, n_outputs))
        lines = library.log().since(mark)
        if not self.pointer:
            detail = library.log().first_error_since(mark) or "llama.cpp did not create the context"
            raise EngineRefused(refused_stage(lines), detail)
        self.buffers = read_buffers(lines, model.buffer_names)
        if settings.pooling:  # llama-context.cpp, output_reserve: logits and embeddings of every token in 32 bits
            output_bytes = self._n_batch * (model.n_vocab + model.n_embd) * 4
            self.buffers[HOST] = replace(self.buffers[HOST], output_bytes=output_bytes)
        self.flash_attn = read_flash_attention(lines, settings.flash_attn)
        self._memory = self._llama_cpp.llama_get_memory(self.pointer)

    def _parameters(self, settings: EngineSettings, n_outputs: int | None) -> Any:
        """Return llama-server's parameters (tools/server/server-context.cpp, load_model), not llama_cpp's defaults."""
        parameters = self._llama_cpp.llama_context_default_params()
        parameters.n_ctx = settings.n_ctx
        parameters.n_batch = self._n_batch
        parameters.n_ubatch = settings.n_ubatch
        parameters.n_seq_max = settings.n_parallel
        # As in server_output_limits: one output per slot. Otherwise 0, which sets no limit per slot (llama.cpp's
        # default).
        parameters.n_outputs_max = settings.n_parallel if n_outputs is None else n_outputs
        parameters.n_outputs_max_per_seq = 1 if n_outputs is None else 0
        if settings.pooling:
            parameters.embeddings = True
            parameters.pooling_type = POOLING_NUMBERS[settings.pooling]
            parameters.n_outputs_max = self._n_batch
        parameters.n_threads = settings.n_threads
        parameters.n_threads_batch = settings.prompt_threads
        parameters.flash_attn_type = _FLASH_ATTENTION[settings.flash_attn]
        parameters.type_k = getattr(self._llama_cpp, f"GGML_TYPE_{settings.type_k.upper()}")
        parameters.type_v = getattr(self._llama_cpp, f"GGML_TYPE_{settings.type_v.upper()}")
        parameters.swa_full = False
        # "off" as with `--parallel N`, which every export sets (tools/server/server.cpp)
        parameters.kv_unified = settings.kv_unified == "on"
        parameters.offload_kqv = settings.kv_offload == "on"
        parameters.op_offload = settings.op_offload == "on"
        parameters.no_perf = True
        return parameters

    def clear(self) -> None:
        """Clear the KV cache, so that the next prefill starts at position 0 and reuses no prefix."""
        self._llama_cpp.llama_memory_clear(self._memory, True)

    def prefill(self, tokens: Tokens, *, cut: Callable[[], bool] = lambda: False) -> None:
        """Decode a prompt in batches of n_batch and wait until the device has finished.

        Args:
            tokens: The prompt, shape (n_tokens,).
            cut: Called after each batch. If it returns True, the rest of the prompt is skipped.

        Raises:
            EngineRefused: llama.cpp returned an error.
        """
        for start in range(0, len(tokens), self._n_batch):
            self._decode(tokens[start : start + self._n_batch])
            if cut():
                break
        self.synchronize()

    def step(self, token: int) -> None:
        """Decode one token and wait until the device has finished.

        Raises:
            EngineRefused: llama.cpp returned an error.
        """
        self._decode(np.array([token], dtype=np.int32))
        self.synchronize()

    def synchronize(self) -> None:
        """Wait until the device has finished all work of this context."""
        self._llama_cpp.llama_synchronize(self.pointer)

    def logits(self) -> NDArray[np.float32]:
        """Return a copy of the last token's logits, shape (n_vocab,)."""
        pointer = self._llama_cpp.llama_get_logits_ith(self.pointer, -1)
        return np.ctypeslib.as_array(pointer, shape=(self._n_vocab,)).copy()

    def pooled(self) -> NDArray[np.float32]:
        """Return a copy of what an embedding or reranking model makes of the prompt: a vector, or the scores.

        Raises:
            EngineRefused: llama.cpp has no result.
        """
        pointer = self._llama_cpp.llama_get_embeddings_seq(self.pointer, 0)
        if not pointer:
            raise EngineRefused("decode", "llama.cpp pooled no tokens")
        return np.ctypeslib.as_array(pointer, shape=(self._n_pooled,)).copy()

    def scored(self, tokens: Tokens, first: int) -> Iterator[NDArray[np.float32]]:
        """Clear the context, decode a text, and yield the logits after each token but the last, shape (n_vocab,).

        Each row is valid only until the next one is taken.

        Args:
            tokens: The text, shape (n_tokens,).
            first: The position of the first token whose logits are computed. `n_outputs` must allow n_batch of them.

        Raises:
            EngineRefused: llama.cpp returned an error.
        """
        self.clear()
        for start in range(0, len(tokens), self._n_batch):
            positions = np.arange(start, min(start + self._n_batch, len(tokens)))
            asked = ((positions >= first) & (positions < len(tokens) - 1)).astype(np.int8)
            self._decode(tokens[positions], asked)
            if asked.any():
                pointer = self._llama_cpp.llama_get_logits(self.pointer)
                yield from np.ctypeslib.as_array(pointer, shape=(int(asked.sum()), self._n_vocab))

    def close(self) -> None:
        """Free the context; a second call does nothing."""
        if self.pointer:
            self._llama_cpp.llama_free(self.pointer)
            self.pointer = None

    def _decode(self, tokens: Tokens, asked: NDArray[np.int8] | None = None) -> None:
        """Decode one batch; `asked` is 1 for each token whose logits are computed, by default the last one."""
        contiguous = np.ascontiguousarray(tokens, dtype=np.int32)
        pointer = contiguous.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        mark = library.log().mark()
        batch = self._llama_cpp.llama_batch_get_one(pointer, len(contiguous))
        if asked is not None:
            batch.logits = asked.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        status = self._llama_cpp.llama_decode(self.pointer, batch)
        if status != 0:
            detail = library.log().first_error_since(mark) or "no reason given"
            raise EngineRefused("decode", f"llama_decode returned {status}: {detail}")
