"""Bytes of the KV cache and of recurrent states, by layer (src/llama-kv-cache.cpp, llama-memory-recurrent.cpp)."""

from collections.abc import Sequence

from layertune.memory.layer_rows import LayerRows
from layertune.models.ggml_types import TENSOR_TYPE_NUMBERS, TENSOR_TYPES
from layertune.settings import EngineSettings
from layertune.units import pad

_STATE_VALUE_BYTES = 4  # create_memory: recurrent states are F32, whatever the cache types
_WINDOW_PADDING = 256  # llama-kv-cache-iswa.cpp
_CELL_BYTES = 12  # of a state: position and sequence (tests/integration/test_context_checkpoints.py)


def layer_bytes(
    rows: Sequence[LayerRows], settings: EngineSettings, *, flash_attn: bool, alignment_bytes: int
) -> list[int]:
    """Return the bytes of each layer's caches and states, for all `settings.n_parallel` sequences together.

    Args:
        rows: the row sizes of each layer.
        settings: in their canonical form. Each sequence has its own part of n_ctx, or all share one cache.
        flash_attn: without it V is stored transposed, and llama.cpp gives every layer the widest layer's V.
        alignment_bytes: the size of each tensor is rounded up to a multiple of this.
    """
    n_sequences = settings.n_parallel // settings.n_caches  # in one cache
    widest_v = max((each.n_embd_v for each in rows), default=0)

    def one(each: LayerRows) -> int:
        n_cells = settings.n_ctx_slot
        if each.window is not None:
            n_cells = pad(min(n_cells, each.window * n_sequences + settings.n_ubatch), _WINDOW_PADDING)
        n_embd_v = each.n_embd_v if flash_attn or not each.n_embd_v else widest_v
        tensors = [
            _row_bytes(settings.type_k, each.n_embd_k) * n_cells * settings.n_caches,
            _row_bytes(settings.type_v, n_embd_v) * n_cells * settings.n_caches,
            *(n_values * _STATE_VALUE_BYTES * settings.n_parallel for n_values in each.n_state),
        ]
        return sum(pad(n_bytes, alignment_bytes) for n_bytes in tensors)

    return [one(each) for each in rows]


def checkpoint_bytes(rows: Sequence[LayerRows], settings: EngineSettings, *, flash_attn: bool) -> int:
    """Return the bytes of one context checkpoint of llama-server: what a slot's later tokens overwrite.

    llama-server copies it to the host's memory, up to --ctx-checkpoints times for each slot (tools/server,
    create_checkpoint; llama_state_seq_get_size_ext with LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY). It holds the cells within
    the window, with 12 bytes for each besides, and the recurrent states. 0 for a model without either.

    Args:
        rows: the row sizes of each layer.
        settings: in their canonical form.
        flash_attn: as in `layer_bytes`.
    """
    widest_v = max((each.n_embd_v for each in rows), default=0)
    total_bytes, n_most_cells = 0, 0
    for each in rows:
        total_bytes += sum(each.n_state) * _STATE_VALUE_BYTES
        if each.window is not None:
            n_cells = min(settings.n_ctx_slot, each.window)
            n_embd_v = each.n_embd_v if flash_attn or not each.n_embd_v else widest_v
            total_bytes += n_cells * (
                _row_bytes(settings.type_k, each.n_embd_k) + _row_bytes(settings.type_v, n_embd_v)
            )
            n_most_cells = max(n_most_cells, n_cells)
    return total_bytes + n_most_cells * _CELL_BYTES


def _row_bytes(cache_type: str, n_values: int) -> int:
    """Return the bytes of a row of this many values, as ggml_row_size does."""
    tensor_type = TENSOR_TYPES[TENSOR_TYPE_NUMBERS[cache_type.upper()]]
    return n_values * tensor_type.block_bytes // tensor_type.n_block
