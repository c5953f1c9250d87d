"""What each repeating layer stores of the context, by llama.cpp's rules: cache rows, windows, recurrent states.

Sources, in the llama.cpp that requirements.txt pins: `llama_model::create_memory` (src/llama-model.cpp) chooses the
kind of memory, `load_hparams` there and `load_arch_hparams` (src/models/NAME.cpp) read the header, and
src/llama-hparams.cpp computes row sizes from it. For an architecture that is not listed here, the plan uses the sizes
that llama.cpp reports instead.
"""

from dataclasses import dataclass
from typing import Any

from layertune.models import ModelShape

# Every layer has one cache for the whole context.
_PLAIN = frozenset({
    "arcee", "baichuan", "bloom", "chatglm", "codeshell", "command-r", "dbrx", "deci", "deepseek", "deepseek2",
    "ernie4_5", "ernie4_5-moe", "exaone", "falcon", "gemma", "glm4", "gpt2", "gptj", "gptneox", "granite",
    "granitemoe", "grok", "hunyuan-dense", "hunyuan-moe", "internlm2", "llama", "minicpm", "minicpm3", "mpt",
    "nemotron", "olmo", "olmoe", "openelm", "orion", "phi2", "phi3", "phimoe", "plamo", "qwen", "qwen2", "qwen2moe",
    "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "refact", "seed_oss", "smollm3", "stablelm", "starcoder",
    "starcoder2", "xverse",
})  # fmt: skip
# Every n-th layer sees the whole context, the others a window of it. This n applies if the header has none.
_WINDOWED = {"cohere2": 4, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "olmo2": 4}
_WINDOW_OPTIONAL = frozenset({"gemma3", "olmo2"})  # without a window in the header, all layers see the whole context
_DEFAULT_WINDOW = {"gemma2": 4096}
_KV_LAYERS = {"gemma3n": 20}  # gemma3n.cpp: later layers reuse the caches of these

_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
# Layers without key-value heads are recurrent …
_HYBRID_BY_HEADS = frozenset({"granitehybrid", "jamba", "lfm2", "lfm2moe", "plamo2"})
# … or all but every n-th …
_HYBRID_BY_INTERVAL = frozenset({"qwen3next", "qwen35", "qwen35moe"})
# … or every layer is both.
_HYBRID_IN_PARALLEL = frozenset({"falcon-h1"})


@dataclass(frozen=True, slots=True)
class LayerRows:
    """The sizes that one layer's caches and states are computed from.

    `n_embd_k` and `n_embd_v` are values per token, 0 without such a cache. `n_state` are 32-bit values per sequence, of
    the shifted inputs and of the state itself. `window` is the number of past tokens that the layer sees, None for all.
    """

    n_embd_k: int = 0
    n_embd_v: int = 0
    n_state: tuple[int, int] = (0, 0)
    window: int | None = None


def layer_rows(shape: ModelShape) -> tuple[LayerRows, ...] | None:
    """Return the rows of each repeating layer, None for an architecture that is not listed here."""
    architecture = shape.architecture
    if architecture in _PLAIN:
        return tuple(_attention(shape, layer) for layer in range(_n_trunk(shape)))
    if architecture in _WINDOWED:
        return _windowed(shape)
    if architecture in _RECURRENT:
        return tuple(LayerRows(n_state=_state(shape)) for _ in range(shape.n_layer))
    if architecture in _HYBRID_IN_PARALLEL:
        both = (_attention(shape, layer) for layer in range(shape.n_layer))
        return tuple(LayerRows(rows.n_embd_k, rows.n_embd_v, _state(shape)) for rows in both)
    if architecture in _HYBRID_BY_HEADS | _HYBRID_BY_INTERVAL and not shape.number("attention.sliding_window"):
        layers = range(_n_trunk(shape))
        return tuple(
            LayerRows(n_state=_state(shape)) if _is_recurrent(shape, layer) else _attention(shape, layer)
            for layer in layers
        )
    return None


def _n_trunk(shape: ModelShape) -> int:
    """Return the number of layers without those that only predict further tokens: these store nothing in the
    context."""
    return shape.n_layer - int(shape.number("nextn_predict_layers") or 0)


def _attention(shape: ModelShape, layer: int, window: int | None = None) -> LayerRows:
    """Return an attention layer's rows. Grouped-query attention stores n_head_kv heads, multi-head latent attention
    stores one row, in K."""
    n_head = _per_layer(shape, "attention.head_count", 0) or 1
    n_head_kv = _n_head_kv(shape, layer)
    suffix = "" if window is None else "_swa"
    default = shape.n_embd // n_head
    whole_k = shape.number("attention.key_length") or default
    whole_v = shape.number("attention.value_length") or default
    n_k = shape.number(f"attention.key_length{suffix}") or whole_k
    n_v = shape.number(f"attention.value_length{suffix}") or whole_v
    is_latent = bool(shape.number("attention.key_length_mla"))
    return LayerRows(n_k * n_head_kv, 0 if is_latent else n_v * n_head_kv, window=window)


def _windowed(shape: ModelShape) -> tuple[LayerRows, ...]:
    window = shape.number("attention.sliding_window") or _DEFAULT_WINDOW.get(shape.architecture)
    layers = range(shape.n_layer)
    if not window and shape.architecture in _WINDOW_OPTIONAL:
        return tuple(_attention(shape, layer) for layer in layers)
    pattern = shape.number("attention.sliding_window_pattern")
    if not isinstance(pattern, (list, tuple)):
        every = pattern or _WINDOWED[shape.architecture]
        pattern = [layer % every < every - 1 for layer in layers]
    n_kept = _KV_LAYERS.get(shape.architecture, shape.n_layer)
    return tuple(
        _attention(shape, layer, window if pattern[layer] else None) if layer < n_kept else LayerRows()
        for layer in layers
    )


def _is_recurrent(shape: ModelShape, layer: int) -> bool:
    if shape.architecture in _HYBRID_BY_HEADS:
        return bool(_per_layer(shape, "attention.head_count_kv", layer) == 0)
    marked = shape.number("attention.recurrent_layers")
    if isinstance(marked, (list, tuple)):
        return bool(marked[layer])
    interval = shape.number("full_attention_interval") or 4
    return bool((layer + 1) % interval)


def _state(shape: ModelShape) -> tuple[int, int]:
    """Return a recurrent layer's values: the shifted inputs and the state itself (llama-hparams.cpp, n_embd_r,
    n_embd_s)."""
    head_size = shape.number("wkv.head_size")
    if head_size:
        return (shape.number("token_shift_count") or 2) * shape.n_embd, shape.n_embd * head_size
    short_convolution = shape.number("shortconv.l_cache")
    if short_convolution:
        return shape.n_embd * (short_convolution - 1), 0
    d_conv, d_inner, d_state, n_group = (
        shape.number(f"ssm.{key}") or 0 for key in ("conv_kernel", "inner_size", "state_size", "group_count")
    )
    return max(d_conv - 1, 0) * (d_inner + 2 * n_group * d_state), d_state * d_inner


def heads_kv(shape: ModelShape) -> list[int]:
    """Return the number of key-value heads of each layer."""
    heads = [_n_head_kv(shape, layer) for layer in range(shape.n_layer)]
    if shape.architecture == "graniteswitch":
        heads[-1] = 1  # granite-switch.cpp: the router's layer
    return heads


def _n_head_kv(shape: ModelShape, layer: int) -> int:
    """Return a layer's key-value heads: as many as its heads if the header has no number of them
    (llama_model_base::load_hparams)."""
    n_head_kv = _per_layer(shape, "attention.head_count_kv", layer)
    if n_head_kv is None:
        n_head_kv = _per_layer(shape, "attention.head_count", layer)
    return int(n_head_kv or 0)


def _per_layer(shape: ModelShape, key: str, layer: int) -> Any:
    """Return a layer's value of a key that has one number for all layers or a list of them. Layers that reuse weights
    start again at the list's beginning."""
    value = shape.number(key)
    return value[layer % len(value)] if isinstance(value, (list, tuple)) and value else value
