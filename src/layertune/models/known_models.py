"""Known models: shapes from their config.json, the quantization mix of llama.cpp, and published file sizes.

`published_bytes` is the size of the commonly downloaded file, as its page on the model hub states it: bartowski's
conversions, and Qwen's own for the Coders. The file of Qwen's 3B Coder has an output layer, which is tied in the
original.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from layertune.errors import UsageError
from layertune.models.gguf_writer import TensorSpec


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A Qwen2.5 model in Q4_K_M. A `tied` model uses its token embedding as the output layer."""

    name: str
    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_head_kv: int
    n_vocab: int
    tied: bool
    published_bytes: int | None = None

    @property
    def n_embd_kv(self) -> int:
        return self.n_embd // self.n_head * self.n_head_kv


KNOWN_MODELS = (
    KnownModel("Qwen2.5-0.5B-Instruct", 24, 896, 4864, 14, 2, 151_936, tied=True, published_bytes=397_808_192),
    KnownModel("Qwen2.5-1.5B-Instruct", 28, 1536, 8960, 12, 2, 151_936, tied=True, published_bytes=986_048_768),
    KnownModel("Qwen2.5-3B-Instruct", 36, 2048, 11008, 16, 2, 151_936, tied=True, published_bytes=1_929_903_264),
    KnownModel("Qwen2.5-Coder-3B-Instruct", 36, 2048, 11008, 16, 2, 151_936, tied=False, published_bytes=2_104_932_800),
    KnownModel("Qwen2.5-7B-Instruct", 28, 3584, 18944, 28, 4, 152_064, tied=False, published_bytes=4_683_074_240),
    KnownModel("Qwen2.5-Coder-7B-Instruct", 28, 3584, 18944, 28, 4, 152_064, tied=False, published_bytes=4_683_073_536),
    KnownModel("Qwen2.5-14B-Instruct", 48, 5120, 13824, 40, 8, 152_064, tied=False, published_bytes=8_988_110_976),
)


def find_known(name: str) -> KnownModel:
    """Return the model of that name, whatever its case, with or without `-Q4_K_M` and `.gguf`.

    Raises:
        UsageError: the model is not known; the message lists the known ones.
    """
    wanted = name.lower().removesuffix(".gguf").removesuffix("-q4_k_m")
    for model in KNOWN_MODELS:
        if model.name.lower() == wanted:
            return model
    there = ", ".join(model.name for model in KNOWN_MODELS)
    raise UsageError(f"no stand-in is known for {name!r}", remedy=f"choose one of {there}, or give a GGUF as template")


def tensors(model: KnownModel) -> Iterator[TensorSpec]:
    """Yield the tensors of a Qwen2 model (llama.cpp, src/models/qwen2.cpp) in Q4_K_M's mix (src/llama-quant.cpp)."""
    embd, kv, ff = model.n_embd, model.n_embd_kv, model.n_ff
    # A tied embedding is also the output layer, which is kept in Q6_K.
    yield _quantized("token_embd.weight", (embd, model.n_vocab), "Q6_K" if model.tied else "Q4_K")
    for layer in range(model.n_layer):
        wide = "Q6_K" if _use_more_bits(layer, model.n_layer) else "Q4_K"
        block = f"blk.{layer}"
        yield TensorSpec(f"{block}.attn_norm.weight", (embd,), "F32")
        yield _quantized(f"{block}.attn_q.weight", (embd, embd), "Q4_K")
        yield TensorSpec(f"{block}.attn_q.bias", (embd,), "F32")
        yield _quantized(f"{block}.attn_k.weight", (embd, kv), "Q4_K")
        yield TensorSpec(f"{block}.attn_k.bias", (kv,), "F32")
        yield _quantized(f"{block}.attn_v.weight", (embd, kv), wide)
        yield TensorSpec(f"{block}.attn_v.bias", (kv,), "F32")
        yield _quantized(f"{block}.attn_output.weight", (embd, embd), "Q4_K")
        yield TensorSpec(f"{block}.ffn_norm.weight", (embd,), "F32")
        yield _quantized(f"{block}.ffn_gate.weight", (embd, ff), "Q4_K")
        yield _quantized(f"{block}.ffn_up.weight", (embd, ff), "Q4_K")
        yield _quantized(f"{block}.ffn_down.weight", (ff, embd), wide)
    yield TensorSpec("output_norm.weight", (embd,), "F32")
    if not model.tied:
        yield _quantized("output.weight", (embd, model.n_vocab), "Q6_K")


def _quantized(name: str, shape: tuple[int, int], wanted: str) -> TensorSpec:
    """Return a tensor in the wanted type, or in one of smaller blocks if 256 does not divide its rows, as in
    Qwen2.5-0.5B (llama-quant.cpp, tensor_type_fallback)."""
    return TensorSpec(name, shape, wanted if shape[0] % 256 == 0 else {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}[wanted])


def _use_more_bits(layer: int, n_layer: int) -> bool:
    """Return whether a layer gets more bits: the first and the last eighth, and every third layer between them
    (llama-quant.cpp, use_more_bits)."""
    return layer < n_layer // 8 or layer >= 7 * n_layer // 8 or (layer - n_layer // 8) % 3 == 2
