"""Small models of every architecture that llama.cpp has, with random weights: what it allocates for them follows the
same rules as for large ones.

A model is an architecture and the keys of its header that differ from `COMMON`. Which tensors it has, and of which
shapes, llama.cpp says itself: it makes a model of a header alone (llama.h, llama_model_init_from_user) and shows every
tensor. The keys follow llama.cpp's own tests/test-llama-archs.cpp. The models have no words and generate no text.

    python benchmarks/memory_accuracy/architectures.py NAME FILE    writes the model of that name, or one of LARGER
"""

import ctypes
import re
import struct
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layertune.engine import library
from layertune.errors import ModelFileError
from layertune.models import gguf_writer
from layertune.models.gguf_writer import TensorSpec
from layertune.models.random_weights import RandomWeights

N_VOCAB, N_LAYER, N_EMBD, N_FF, N_HEAD, N_HEAD_KV = 4096, 6, 512, 768, 8, 2
HEAD = N_EMBD // N_HEAD
Keys = dict[str, bool | int | float | str | Sequence[int] | None]


@dataclass(frozen=True)
class Small:
    """A model to write: all tensors that llama.cpp would load but those whose names match `without`, and the token
    embedding in that type: some are repacked on the host where it is the output layer, too."""

    architecture: str
    keys: Keys
    without: str = "$^"
    embedding: str = "Q6_K"


_EXPERTS: Keys = {
    "expert_count": 8,
    "expert_used_count": 2,
    "expert_shared_count": 1,
    "expert_feed_forward_length": 256,
    "expert_shared_feed_forward_length": 256,
    "expert_gating_func": 2,
    "expert_group_scale": 1.0,
    "experts_per_group": 1,
    "interleave_moe_layer_step": 2,
    "moe_latent_size": 256,
    "moe_every_n_layers": 2,
    "expert_chunk_feed_forward_length": 256,
    "expert_weights_scale": 1.0,
    "expert_weights_norm": True,
}
# Latent attention (MLA): one row of rank + rope values.
_LATENT: Keys = {
    "attention.head_count_kv": 1,
    "attention.key_length": 256 + 64,
    "attention.value_length": 256,
    "attention.key_length_mla": 64 + 64,
    "attention.value_length_mla": 64,
    "attention.kv_lora_rank": 256,
    "attention.q_lora_rank": 256,
    "rope.dimension_count": 64,
}
_WINDOW: Keys = {"attention.sliding_window": 512}
_EVERY_OTHER: Keys = {**_WINDOW, "attention.sliding_window_pattern": [0, 1] * 3}
_SSM: Keys = {
    "ssm.inner_size": 2 * N_EMBD,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 128,
    "ssm.time_step_rank": 8,
    "ssm.group_count": 2,
}
_SOME_HEADS = [2, 0, 2, 0, 0, 2]
_INDEXER: Keys = {
    "attention.indexer.head_count": 64,
    "attention.indexer.key_length": 128,
    "attention.indexer.top_k": 131_072,
    "attention.indexer.block_size": 4,
    "attention.indexer.kpool": 4,
    "attention.indexer.kpool_select_tail": True,
    "attention.indexer.local_blocks": 1,
}
_KDA: Keys = {"kda.head_dim": 64, "kda.safe_gate": True, "kda.gate_lower_bound": -5.0, "ssm.conv_kernel": 4}
_RWKV: Keys = {
    "wkv.head_size": HEAD,
    "time_mix_extra_dim": 64,
    "time_decay_extra_dim": 128,
    "token_shift_count": 2,
    "attention.decay_lora_rank": 64,
    "attention.iclr_lora_rank": 64,
    "attention.value_residual_mix_lora_rank": 64,
    "attention.gate_lora_rank": 64,
}
_HYPER: Keys = {
    "hyper_connection.count": 4,
    "hyper_connection.sinkhorn_iterations": 2,
    "hyper_connection.epsilon": 1e-6,
    "hyper_connection.low_rank": 8,
    "hyper_connection.magnitude": 2.0,
}

_WHOLE_KEYS = ("tokenizer.", "xielu.")  # all others begin with the architecture

_WIDE_KEYS = ("ple.layer_multipliers", "ple.head_offsets", "ple.head_vocab_sizes")  # 64 bits

COMMON: Keys = {
    "vocab_size": N_VOCAB,
    "block_count": N_LAYER,
    "context_length": 32_768,
    "embedding_length": N_EMBD,
    "feed_forward_length": N_FF,
    "leading_dense_block_count": 1,
    "use_parallel_residual": False,
    "logit_scale": 1.0,
    "residual_scale": 1.0,
    "attention.head_count": N_HEAD,
    "attention.head_count_kv": N_HEAD_KV,
    "attention.max_alibi_bias": 8.0,
    "attention.clamp_kqv": 1.0,
    "attention.layer_norm_epsilon": 1e-5,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.group_norm_epsilon": 1e-5,
    "attention.group_norm_groups": 8,
    "attention.relative_buckets_count": 8,
    "rope.dimension_sections": [HEAD // 8] * 4,
}


_MLA_EXPERTS: Keys = {**_EXPERTS, **_LATENT, **_INDEXER}
_LATENT_KDA: Keys = {**_MLA_EXPERTS, **_KDA, "attention.head_count_kv": [1, 0, 1, 0, 0, 1]}
_EVERY_FOURTH: Keys = {**_WINDOW, "attention.sliding_window_pattern": 4}
_HYBRID: Keys = {**_SSM, "attention.head_count_kv": _SOME_HEADS}
_OWN_FF: Keys = {"feed_forward_length": [0, 0, N_FF, 0, N_FF, 0]}
_BERT: Keys = {"tokenizer.ggml.token_type_count": 2}
_PLE: Keys = {
    "ple.layers": [0],
    "ple.ngram_size": 3,
    "ple.heads_per_ngram": 2,
    "ple.conv_kernel": 4,
    "ple.eos_token_id": 0,
    "embedding_length_per_layer_input": N_EMBD // 4,
    "ple.layer_multipliers": [1, 3, 5],
    "ple.head_offsets": [0, N_VOCAB, 2 * N_VOCAB, 3 * N_VOCAB],
    "ple.head_vocab_sizes": [N_VOCAB] * 4,
}
_GEMMA4: Keys = {
    **_WINDOW,
    "attention.sliding_window_pattern": [1, 0] * 3,
    "attention.key_length": 128,
    "attention.value_length": 128,
    "attention.key_length_swa": 64,
    "attention.value_length_swa": 64,
    "embedding_length_per_layer_input": 256,
    "attention.shared_kv_layers": 2,
    "rope.dimension_count_swa": 64,
}

# Every line: the names of architectures, and the keys that each of them needs beyond `COMMON`.
_ROWS: tuple[tuple[str, Keys], ...] = (
    (
        "arcee baichuan bitnet bloom chatglm codeshell cogvlm command-r dream eurobert exaone exaone4 falcon gemma "
        "glm4 gpt2 gptneox granite hunyuan-dense hunyuan_vl internlm2 jais jais2 llada llama llama-embed maincoder "
        "minicpm mistral3 mpt neo-bert nemotron olmo orion paddleocr pangu-embedded phi2 phi3 plamo qwen qwen2 qwen2vl "
        "qwen3 qwen3vl refact seed_oss smollm3 stablelm starcoder starcoder2 talkie xverse",
        {},
    ),
    (
        "arctic bailingmoe bailingmoe2 dbrx deepseek ernie4_5 ernie4_5-moe glm4moe granitemoe grok "
        "grovemoe hunyuan-moe hy_v3 llada-moe minimax-m2 phimoe qwen2moe qwen3moe qwen3vlmoe rnd1",
        _EXPERTS,
    ),
    ("t5 t5encoder", {"attention.head_count_kv": N_HEAD}),
    ("deepseek2-ocr dots1 olmoe", {**_EXPERTS, "attention.head_count_kv": N_HEAD}),
    ("cohere2 gemma2 gemma3 muse-glimmer olmo2 plamo3 gemma-embedding modern-bert", _EVERY_FOURTH),
    ("afmoe cohere2moe exaone-moe gpt-oss laguna llama4 mellum smallthinker", {**_EXPERTS, **_EVERY_FOURTH}),
    ("granite_swa spark2_5", _EVERY_OTHER),
    ("maple mimo2 step35", {**_EXPERTS, **_EVERY_OTHER, "swiglu_clamp_exp": 7.0}),
    ("bert jina-bert-v3 nomic-bert", _BERT),
    ("jina-bert-v2", {**_BERT, "attention.head_count_kv": N_HEAD}),
    ("nomic-bert-moe", {**_BERT, **_EXPERTS}),
    (
        "minicpm3 plm",
        {
            **_LATENT,
            "attention.head_count_kv": N_HEAD,
            "attention.key_length": 128,
            "attention.value_length": 64,
            "attention.key_length_mla": 0,
            "attention.value_length_mla": 0,
        },
    ),
    ("deepseek2 deepseek32 glm-dsa mistral4", _MLA_EXPERTS),
    ("bailingmoe3", _LATENT_KDA),
    ("kimi-linear", {**_LATENT_KDA, "attention.q_lora_rank": 0}),
    (
        "kimi-k3",
        {**_LATENT_KDA, "attn_res.block_size": 12, "activation.situ_beta": 4.0, "activation.situ_linear_beta": 25.0},
    ),
    ("glm5-next", {**_LATENT_KDA, **_HYPER, "attention.key_length": 256, "rope.dimension_count": 0}),
    ("mamba", {**_SSM, "ssm.group_count": 0, "attention.head_count": 0, "attention.head_count_kv": 0}),
    ("mamba2", {**_SSM, "attention.head_count": 0, "attention.head_count_kv": 0}),
    ("rwkv6", {**_RWKV, "attention.head_count_kv": N_HEAD}),
    ("rwkv7", _RWKV),
    ("arwkv7", {**_RWKV, "token_shift_count": 1}),
    ("rwkv6qwen2", {**_RWKV, "token_shift_count": 1, "attention.head_count_kv": N_HEAD}),
    ("granitehybrid", _HYBRID),
    ("jamba plamo2", {**_HYBRID, "ssm.group_count": 0}),
    ("falcon-h1", _SSM),
    ("qwen35", {**_SSM, "full_attention_interval": 2}),
    ("qwen3next qwen35moe", {**_SSM, **_EXPERTS, "full_attention_interval": 2}),
    ("nemotron_h", {**_HYBRID, **_OWN_FF}),
    ("nemotron_h_moe", {**_HYBRID, **_OWN_FF, **_EXPERTS}),
    ("lfm2", {"attention.head_count_kv": _SOME_HEADS, "shortconv.l_cache": 3}),
    ("lfm2moe", {**_EXPERTS, "attention.head_count_kv": _SOME_HEADS, "shortconv.l_cache": 3}),
    ("openelm", {"attention.head_count_kv": [1, 1, 2, 2, 4, 4]}),
    ("deci", {"attention.head_count_kv": [2, 0, 8, 0, 4, 4]}),
    ("nanbeige", {"num_loops": 2}),
    ("gemma3n", {**_WINDOW, "block_count": 22}),
    ("gemma4", _GEMMA4),
    ("hrm_text", {"hrm.layers_per_stack": 1, "hrm.h_cycles": 2, "hrm.l_cycles": 2}),
    ("apertus", {"xielu.alpha_n": 1.0, "xielu.alpha_p": 1.0, "xielu.beta": 1.0, "xielu.eps": 1e-6}),
    ("minimax-01", {**_EXPERTS, "full_attention_interval": 2, "attention.head_count_kv": N_HEAD}),
    ("minimax-m3", {**_EXPERTS, **_INDEXER, "attention.indexer.head_count": N_HEAD_KV, "rope.dimension_count": 32}),
    (
        "dots3note",
        {
            **_MLA_EXPERTS,
            **_EVERY_OTHER,
            "attention.indexer.types": [1, 0] * 3,
            "attention.kv_lora_rank_swa": 256,
            "attention.key_length_swa": 256 + 64,
            "attention.value_length_swa": 256,
            "attention.key_length_mla_swa": 64 + 64,
            "attention.value_length_mla_swa": 64,
            "rope.freq_base_swa": 10_000.0,
        },
    ),
    (
        "deepseek4",
        {
            **_EXPERTS,
            **_INDEXER,
            **_HYPER,
            **_WINDOW,
            "block_count": 4,
            "expert_gating_func": 4,
            "attention.head_count_kv": 1,
            "attention.key_length": 64,
            "attention.value_length": 64,
            "attention.q_lora_rank": 64,
            "attention.output_group_count": 8,
            "attention.output_lora_rank": 32,
            "attention.compress_ratios": [0, 0, 4, 128],
            "attention.compress_rope_freq_base": 160_000.0,
            "rope.dimension_count": 32,
            "hash_layer_count": 0,
            "swiglu_clamp_exp": 10.0,
        },
    ),
    ("hy_v4", {**_MLA_EXPERTS, **_HYPER, "attention.indexer.types": [1, 0] * 3, "swiglu_clamp_exp": 10.0}),
    ("qwen4exp", {**_EXPERTS, **_SSM, **_INDEXER, **_HYPER, **_PLE, "full_attention_interval": 2}),
    (
        "graniteswitch",
        {
            "adapters.count": 2,
            "adapters.lora_rank": 16,
            "adapters.token_ids_activate": [1, 2],
            "adapters.token_ids_substitute": [3, 4],
        },
    ),
)
_TIED = r"^output\.weight"
# Further models of an architecture: what else is a setting of its header, or missing in its tensors.
_FURTHER: dict[str, Small] = {
    "qwen2-tied": Small("qwen2", {}, _TIED, "Q4_0"),
    "gemma4-tied": Small("gemma4", _GEMMA4, _TIED, "Q4_K"),
    "phi3-longrope": Small("phi3", {"rope.scaling.type": "longrope"}, _TIED),
}
# What llama.cpp names and this does not write, and why.
NOT_WRITTEN = {
    "chameleon": "llama.cpp's own tests leave it out",
    "clip": "the projector of a multimodal model",
    "dflash": "a draft model, which runs only beside another",
    "eagle3": "a draft model, which runs only beside another",
    "gemma4-assistant": "a draft model, which runs only beside another",
    "gptj": "llama.cpp has its name only",
    "pockettts": "a speech model",
    "qwen3tts": "a speech model",
    "wavtokenizer-dec": "a speech model",
}

# Not small: models whose speed is measured. 32 experts, of which a token uses 8, as Granite 3.1 1B-A400M has them.
LARGER: dict[str, Small] = {
    "granite-1b-a400m": Small(
        "granitemoe",
        {
            "vocab_size": 49_152,
            "block_count": 24,
            "embedding_length": 1024,
            "feed_forward_length": 512,
            "attention.head_count": 16,
            "attention.head_count_kv": 8,
            "expert_count": 32,
            "expert_used_count": 8,
            "expert_feed_forward_length": 512,
            "leading_dense_block_count": 0,
            "rope.dimension_sections": [8] * 4,
        },
        _TIED,
    )
}

MODELS: dict[str, Small] = {name: Small(name, keys) for names, keys in _ROWS for name in names.split()} | _FURTHER


def write(name: str, output: Path) -> None:
    """Write the model of that name, one of `MODELS` or `LARGER`."""
    model = {**MODELS, **LARGER}[name]
    keys = [
        _key(key if key.startswith(_WHOLE_KEYS) else f"{model.architecture}.{key}", value)
        for key, value in {**COMMON, **model.keys}.items()
    ]
    metadata = [
        gguf_writer.key_string("general.architecture", model.architecture),
        gguf_writer.key_string("tokenizer.ggml.model", "none"),
        *keys,
    ]
    without = re.compile(model.without)
    tensors = [
        replace(each, type=model.embedding) if each.name == "token_embd.weight" else each
        for each in _asked(metadata)
        if not without.search(each.name)
    ]
    with output.open("wb") as file:
        file.write(gguf_writer.begin(metadata, len(metadata), tensors))
        gguf_writer.write_data(file, tensors, RandomWeights(0).fill)


def _key(key: str, value: bool | int | float | str | Sequence[int]) -> bytes:
    if isinstance(value, bool):
        return gguf_writer.key_bool(key, value)
    if isinstance(value, int):
        return gguf_writer.key_u32(key, value)
    if isinstance(value, float):
        return gguf_writer.key_f32(key, value)
    if isinstance(value, str):
        return gguf_writer.key_string(key, value)
    if key.endswith(_WIDE_KEYS):
        return gguf_writer.text(key) + struct.pack(f"<IIQ{len(value)}Q", 9, 10, len(value), *value)
    return gguf_writer.key_i32s(key, value)


class _GgmlTensor(ctypes.Structure):
    """ggml.h, the beginning of struct ggml_tensor."""

    _fields_ = (("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4))


def _asked(metadata: Sequence[bytes]) -> list[TensorSpec]:
    """Return the tensors that llama.cpp makes of a header."""
    llama_cpp = library.load()
    ggml = ctypes.CDLL(str(library.library_path("ggml-base")))
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    ggml.gguf_free.argtypes = [ctypes.c_void_p]
    ggml.ggml_get_name.restype = ctypes.c_char_p
    ggml.ggml_get_name.argtypes = [ctypes.c_void_p]
    ggml.ggml_n_dims.argtypes = [ctypes.c_void_p]
    shapes: dict[str, tuple[int, ...]] = {}

    def see(pointer: int, _user_data: object) -> None:
        tensor = ctypes.cast(pointer, ctypes.POINTER(_GgmlTensor)).contents
        name = ggml.ggml_get_name(pointer).decode()
        shapes[name] = tuple(tensor.ne[: ggml.ggml_n_dims(pointer)])

    class Parameters(ctypes.Structure):
        _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))

    with tempfile.TemporaryDirectory() as folder:
        header = Path(folder) / "header.gguf"
        header.write_bytes(gguf_writer.begin(metadata, len(metadata), []))
        ggml.gguf_init_from_file.argtypes = [ctypes.c_char_p, Parameters]
        context = ggml.gguf_init_from_file(str(header).encode(), Parameters(True, None))
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers = 0
    none = (ctypes.c_void_p * 1)(None)
    parameters.devices = ctypes.cast(none, ctypes.c_void_p)
    mark = library.log().mark()
    model = llama_cpp.llama_model_init_from_user(
        context, llama_cpp.llama_model_set_tensor_data_t(see), None, parameters
    )
    ggml.gguf_free(context)
    if not model:
        raise ModelFileError(library.log().first_error_since(mark) or "llama.cpp made no model")
    llama_cpp.llama_model_free(model)
    return [TensorSpec(name, shape, _type(name, shape)) for name, shape in shapes.items()]


_QUANTIZED = {
    "token_embd": "Q6_K", "output": "Q6_K", "per_layer_token_embd": "Q8_0", "attn_q": "Q4_K", "attn_k": "Q4_K",
    "attn_v": "Q6_K", "attn_qkv": "Q5_K", "attn_output": "Q4_K", "ffn_gate": "Q4_0", "ffn_up": "Q8_0",
    "ffn_down": "Q4_K", "ffn_gate_exps": "Q4_K", "ffn_up_exps": "Q4_K", "ffn_down_exps": "Q6_K",
    "ffn_gate_up_exps": "Q4_K", "ssm_in": "Q8_0", "ssm_out": "Q4_K", "per_layer_model_proj": "F16",
}  # fmt: skip
_STEM = re.compile(r"(?:^|\.)([a-z_0-9]+)\.weight$")


def _type(name: str, shape: tuple[int, ...]) -> str:
    stem = _STEM.search(name)
    wanted = _QUANTIZED.get(stem[1], "F32") if stem and len(shape) > 1 else "F32"
    return wanted if shape[0] % 256 == 0 else "F32"


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
