"""Small models of several architectures, random weights: what llama.cpp allocates for them follows the same rules.

Shapes as in src/models/NAME.cpp of the pinned llama.cpp. They have no vocabulary of words: nothing here generates text.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from layertune.models import encoding
from layertune.models.blocks import RandomWeights
from layertune.models.encoding import TensorPlan

N_VOCAB, N_LAYER, N_EMBD, N_FF, N_HEAD, N_HEAD_KV = 16_000, 6, 512, 1536, 8, 2
HEAD = N_EMBD // N_HEAD
Tensors = Iterator[TensorPlan]
Keys = dict[str, int | float | Sequence[int]]


def write(name: str, output: Path) -> None:
    """Write the model of that name, one of `ARCHITECTURES`."""
    architecture, keys, tensors = ARCHITECTURES[name]
    metadata = [
        encoding.key_string("general.architecture", architecture),
        encoding.key_string("tokenizer.ggml.model", "none"),
        *(_key(f"{architecture}.{key}", value) for key, value in {**COMMON, **keys}.items()),
    ]
    plans = list(tensors())
    with output.open("wb") as file:
        file.write(encoding.begin(metadata, len(metadata), plans))
        encoding.write_data(file, plans, RandomWeights(0).fill)


def _key(key: str, value: int | float | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return encoding.key_u32(key, value)
    return encoding.key_f32(key, value) if isinstance(value, float) else encoding.key_i32s(key, value)


def _ends(*, tied: bool, norm: str = "output_norm.weight", quantization: str = "Q6_K") -> Tensors:
    yield TensorPlan("token_embd.weight", (N_EMBD, N_VOCAB), quantization)
    yield TensorPlan(norm, (N_EMBD,), "F32")
    if not tied:
        yield TensorPlan("output.weight", (N_EMBD, N_VOCAB), "Q6_K")


def _attention(layer: int, head: int = HEAD, n_head_kv: int = N_HEAD_KV, *, q_norms: bool = False) -> Tensors:
    block = f"blk.{layer}"
    yield TensorPlan(f"{block}.attn_norm.weight", (N_EMBD,), "F32")
    yield TensorPlan(f"{block}.attn_q.weight", (N_EMBD, head * N_HEAD), "Q4_K")
    yield TensorPlan(f"{block}.attn_k.weight", (N_EMBD, head * n_head_kv), "Q4_K")
    yield TensorPlan(f"{block}.attn_v.weight", (N_EMBD, head * n_head_kv), "Q6_K")
    yield TensorPlan(f"{block}.attn_output.weight", (head * N_HEAD, N_EMBD), "Q4_K")
    if q_norms:
        yield TensorPlan(f"{block}.attn_q_norm.weight", (head,), "F32")
        yield TensorPlan(f"{block}.attn_k_norm.weight", (head,), "F32")


def _feed_forward(layer: int, norm: str = "ffn_norm.weight") -> Tensors:
    block = f"blk.{layer}"
    yield TensorPlan(f"{block}.{norm}", (N_EMBD,), "F32")
    yield TensorPlan(f"{block}.ffn_gate.weight", (N_EMBD, N_FF), "Q4_0")
    yield TensorPlan(f"{block}.ffn_up.weight", (N_EMBD, N_FF), "Q8_0")
    yield TensorPlan(f"{block}.ffn_down.weight", (N_FF, N_EMBD), "Q4_K")


def _experts(layer: int, n_expert: int, n_ff: int) -> Tensors:
    block = f"blk.{layer}"
    yield TensorPlan(f"{block}.ffn_norm.weight", (N_EMBD,), "F32")
    yield TensorPlan(f"{block}.ffn_gate_inp.weight", (N_EMBD, n_expert), "F32")
    yield TensorPlan(f"{block}.ffn_gate_exps.weight", (N_EMBD, n_ff, n_expert), "Q4_K")
    yield TensorPlan(f"{block}.ffn_down_exps.weight", (n_ff, N_EMBD, n_expert), "Q6_K")
    yield TensorPlan(f"{block}.ffn_up_exps.weight", (N_EMBD, n_ff, n_expert), "Q4_K")


def llama() -> Tensors:
    yield from _ends(tied=False)
    yield TensorPlan("rope_freqs.weight", (HEAD // 2,), "F32")
    for layer in range(N_LAYER):
        yield from _attention(layer)
        yield from _feed_forward(layer)


def qwen2(*, tied: bool) -> Tensors:
    yield from _ends(tied=tied, quantization="Q4_0" if tied else "Q4_K")
    for layer in range(N_LAYER):
        yield from _attention(layer)
        for name, width in (("q", N_EMBD), ("k", HEAD * N_HEAD_KV), ("v", HEAD * N_HEAD_KV)):
            yield TensorPlan(f"blk.{layer}.attn_{name}.bias", (width,), "F32")
        yield from _feed_forward(layer)


def qwen3moe() -> Tensors:
    yield from _ends(tied=False)
    for layer in range(N_LAYER):
        yield from _attention(layer, head=128, q_norms=True)
        yield from _experts(layer, n_expert=8, n_ff=256)


def gemma2() -> Tensors:
    yield from _ends(tied=True)
    for layer in range(N_LAYER):
        yield from _attention(layer, head=128)
        yield TensorPlan(f"blk.{layer}.post_attention_norm.weight", (N_EMBD,), "F32")
        yield from _feed_forward(layer)
        yield TensorPlan(f"blk.{layer}.post_ffw_norm.weight", (N_EMBD,), "F32")


def mamba() -> Tensors:
    yield from _ends(tied=True)
    d_inner, d_state, dt_rank = 2 * N_EMBD, 16, 32
    for layer in range(N_LAYER):
        block = f"blk.{layer}"
        yield TensorPlan(f"{block}.attn_norm.weight", (N_EMBD,), "F32")
        yield TensorPlan(f"{block}.ssm_in.weight", (N_EMBD, 2 * d_inner), "Q4_K")
        yield TensorPlan(f"{block}.ssm_conv1d.weight", (4, d_inner), "F32")
        yield TensorPlan(f"{block}.ssm_conv1d.bias", (d_inner,), "F32")
        yield TensorPlan(f"{block}.ssm_x.weight", (d_inner, dt_rank + 2 * d_state), "Q4_K")
        yield TensorPlan(f"{block}.ssm_dt.weight", (dt_rank, d_inner), "F32")
        yield TensorPlan(f"{block}.ssm_dt.bias", (d_inner,), "F32")
        yield TensorPlan(f"{block}.ssm_a", (d_state, d_inner), "F32")
        yield TensorPlan(f"{block}.ssm_d", (d_inner,), "F32")
        yield TensorPlan(f"{block}.ssm_out.weight", (d_inner, N_EMBD), "Q4_K")


LFM2_HEADS_KV = (0, 0, 2, 0, 0, 2)


def lfm2() -> Tensors:
    yield from _ends(tied=True, norm="token_embd_norm.weight")
    for layer, n_head_kv in enumerate(LFM2_HEADS_KV):
        block = f"blk.{layer}"
        if n_head_kv:
            yield from _attention(layer, n_head_kv=n_head_kv, q_norms=True)
        else:
            yield TensorPlan(f"{block}.attn_norm.weight", (N_EMBD,), "F32")
            yield TensorPlan(f"{block}.shortconv.conv.weight", (3, N_EMBD), "F32")
            yield TensorPlan(f"{block}.shortconv.in_proj.weight", (N_EMBD, 3 * N_EMBD), "Q4_K")
            yield TensorPlan(f"{block}.shortconv.out_proj.weight", (N_EMBD, N_EMBD), "Q4_K")
        yield from _feed_forward(layer)


def falcon_h1() -> Tensors:
    yield from _ends(tied=False)
    d_inner, d_state, n_group, n_head = 1024, 64, 1, 16
    convolved = d_inner + 2 * n_group * d_state
    for layer in range(N_LAYER):
        block = f"blk.{layer}"
        yield from _attention(layer)
        yield TensorPlan(f"{block}.ssm_in.weight", (N_EMBD, d_inner + convolved + n_head), "Q8_0")
        yield TensorPlan(f"{block}.ssm_conv1d.weight", (4, convolved), "F32")
        yield TensorPlan(f"{block}.ssm_conv1d.bias", (convolved,), "F32")
        yield TensorPlan(f"{block}.ssm_dt.bias", (n_head,), "F32")
        yield TensorPlan(f"{block}.ssm_a", (1, n_head), "F32")
        yield TensorPlan(f"{block}.ssm_d", (1, n_head), "F32")
        yield TensorPlan(f"{block}.ssm_norm.weight", (d_inner // n_group, n_group), "F32")
        yield TensorPlan(f"{block}.ssm_out.weight", (d_inner, N_EMBD), "Q4_K")
        yield from _feed_forward(layer, norm="ffn_norm")


def deepseek2() -> Tensors:
    yield from _ends(tied=False)
    rank, rope, nope = 256, 32, 64
    for layer in range(N_LAYER):
        block = f"blk.{layer}"
        yield TensorPlan(f"{block}.attn_norm.weight", (N_EMBD,), "F32")
        yield TensorPlan(f"{block}.attn_kv_a_norm.weight", (rank,), "F32")
        yield TensorPlan(f"{block}.attn_q_a_norm.weight", (rank,), "F32")
        yield TensorPlan(f"{block}.attn_q_a.weight", (N_EMBD, rank), "Q4_K")
        yield TensorPlan(f"{block}.attn_q_b.weight", (rank, N_HEAD * (nope + rope)), "Q4_K")
        yield TensorPlan(f"{block}.attn_kv_a_mqa.weight", (N_EMBD, rank + rope), "Q4_K")
        yield TensorPlan(f"{block}.attn_k_b.weight", (nope, rank, N_HEAD), "Q8_0")
        yield TensorPlan(f"{block}.attn_v_b.weight", (rank, HEAD, N_HEAD), "Q8_0")
        yield TensorPlan(f"{block}.attn_output.weight", (N_HEAD * HEAD, N_EMBD), "Q4_K")
        if layer == 0:
            yield from _feed_forward(layer)
            continue
        yield from _experts(layer, n_expert=8, n_ff=256)
        yield TensorPlan(f"{block}.ffn_gate_shexp.weight", (N_EMBD, 256), "Q4_K")
        yield TensorPlan(f"{block}.ffn_down_shexp.weight", (256, N_EMBD), "Q4_K")
        yield TensorPlan(f"{block}.ffn_up_shexp.weight", (N_EMBD, 256), "Q4_K")


COMMON: Keys = {
    "vocab_size": N_VOCAB,
    "block_count": N_LAYER,
    "context_length": 32_768,
    "embedding_length": N_EMBD,
    "feed_forward_length": N_FF,
    "attention.head_count": N_HEAD,
    "attention.head_count_kv": N_HEAD_KV,
    "attention.layer_norm_rms_epsilon": 1e-6,
}
_MAMBA: Keys = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 2 * N_EMBD,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 32,
    "attention.head_count": 0,
    "attention.head_count_kv": 0,
    "feed_forward_length": 0,
}
_FALCON_H1: Keys = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 1024,
    "ssm.state_size": 64,
    "ssm.time_step_rank": 16,
    "ssm.group_count": 1,
}
_DEEPSEEK2: Keys = {
    "attention.head_count_kv": 1,
    "attention.kv_lora_rank": 256,
    "attention.q_lora_rank": 256,
    "attention.key_length": 256 + 32,
    "attention.value_length": 256,
    "attention.key_length_mla": 64 + 32,
    "attention.value_length_mla": HEAD,
    "rope.dimension_count": 32,
    "leading_dense_block_count": 1,
    "expert_count": 8,
    "expert_used_count": 2,
    "expert_shared_count": 1,
    "expert_feed_forward_length": 256,
}
_QWEN3MOE: Keys = {
    "attention.key_length": 128,
    "attention.value_length": 128,
    "expert_count": 8,
    "expert_used_count": 2,
    "expert_feed_forward_length": 256,
}
_GEMMA2: Keys = {"attention.key_length": 128, "attention.value_length": 128, "attention.sliding_window": 1024}

# The architecture as GGUF names it, the keys that differ from `COMMON`, and the tensors.
ARCHITECTURES: dict[str, tuple[str, Keys, Callable[[], Tensors]]] = {
    "llama": ("llama", {}, llama),
    "qwen2-tied": ("qwen2", {}, lambda: qwen2(tied=True)),
    "qwen2-untied": ("qwen2", {}, lambda: qwen2(tied=False)),
    "qwen3moe": ("qwen3moe", _QWEN3MOE, qwen3moe),
    "gemma2": ("gemma2", _GEMMA2, gemma2),
    "deepseek2": ("deepseek2", _DEEPSEEK2, deepseek2),
    "mamba": ("mamba", _MAMBA, mamba),
    "lfm2": ("lfm2", {"shortconv.l_cache": 3, "attention.head_count_kv": LFM2_HEADS_KV}, lfm2),
    "falcon-h1": ("falcon-h1", _FALCON_H1, falcon_h1),
}
