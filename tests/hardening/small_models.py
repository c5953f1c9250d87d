"""Small whole models to mutate: one for each way that a plan reads a header."""

from tests.hardening import gguf_file
from tests.hardening.gguf_file import GgufFile, Key, Row, Text

from layertune.models.ggml_types import TENSOR_TYPE_NUMBERS

_N_LAYER, _N_EMBD, _N_VOCAB = 4, 64, 96

# Attention over the whole context or a window; latent attention; recurrent states, alone and with attention; experts.
ARCHITECTURES = [
    *("llama", "qwen2", "qwen3moe", "gemma2", "gemma3", "gemma3n", "gpt-oss", "cohere2", "olmo2", "deepseek2", "deci"),
    *("mamba", "mamba2", "rwkv6", "rwkv7", "jamba", "lfm2", "granitehybrid", "qwen3next", "falcon-h1", "bert", "t5"),
]

_NUMBERS = {
    "context_length": 512,
    "embedding_length": _N_EMBD,
    "block_count": _N_LAYER,
    "feed_forward_length": 128,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "vocab_size": _N_VOCAB,
}
_FAMILIES: dict[str, dict[str, int]] = {
    "attention.sliding_window": dict.fromkeys(("gemma2", "gemma3", "gemma3n", "gpt-oss", "cohere2", "olmo2"), 128),
    "attention.key_length": {"gemma3": 32, "deepseek2": 48},
    "attention.value_length": {"gemma3": 32, "deepseek2": 32},
    "attention.key_length_mla": {"deepseek2": 24},
    "attention.kv_lora_rank": {"deepseek2": 32},
    "expert_count": {"qwen3moe": 4, "gpt-oss": 4, "deepseek2": 4},
    "expert_used_count": {"qwen3moe": 2, "gpt-oss": 2, "deepseek2": 2},
    "ssm.conv_kernel": dict.fromkeys(("mamba", "mamba2", "jamba", "granitehybrid", "qwen3next", "falcon-h1"), 4),
    "ssm.inner_size": dict.fromkeys(("mamba", "mamba2", "jamba", "granitehybrid", "qwen3next", "falcon-h1"), 128),
    "ssm.state_size": dict.fromkeys(("mamba", "mamba2", "jamba", "granitehybrid", "qwen3next", "falcon-h1"), 16),
    "ssm.group_count": dict.fromkeys(("mamba2", "granitehybrid", "qwen3next", "falcon-h1"), 1),
    "ssm.time_step_rank": dict.fromkeys(("mamba", "mamba2", "jamba", "granitehybrid", "qwen3next", "falcon-h1"), 8),
    "wkv.head_size": {"rwkv6": 16, "rwkv7": 16},
    "token_shift_count": {"rwkv6": 2},
    "shortconv.l_cache": {"lfm2": 3},
    "full_attention_interval": {"qwen3next": 4},
    "nextn_predict_layers": {"deepseek2": 1},
}
_BY_LAYER = {"jamba": [0, 2, 0, 2], "lfm2": [0, 0, 2, 2], "granitehybrid": [0, 2, 2, 0], "deci": [2, 0, 4, 2]}

# Where a new key may turn up: all that a plan looks at, and a few that nobody does.
KEY_NAMES = [
    *(f"ARCH.{name}" for name in (*_NUMBERS, *_FAMILIES)),
    *("ARCH.attention.sliding_window_pattern", "ARCH.attention.recurrent_layers", "ARCH.attention.key_length_swa"),
    *("ARCH.attention.value_length_swa", "ARCH.vocab_size", "ARCH.embedding_length_per_layer_input"),
    *("general.architecture", "general.name", "general.file_type", "general.alignment", "split.count", "split.no"),
    *("split.tensors.count", "tokenizer.ggml.tokens", "tokenizer.ggml.model", "nobody.knows.this"),
]


def small_model(architecture: str) -> GgufFile:
    """Return a file that is read, planned and estimated as it is."""
    return GgufFile(_keys(architecture), _rows(architecture))


def _keys(architecture: str) -> list[Key]:
    keys = [
        gguf_file.string("general.architecture", architecture),
        gguf_file.string("general.name", "small"),
        gguf_file.number("general.file_type", 7),
    ]
    for name, value in _NUMBERS.items():
        if name == "attention.head_count_kv" and architecture in _BY_LAYER:
            keys.append(gguf_file.numbers(f"{architecture}.{name}", [*map(float, _BY_LAYER[architecture])]))
        else:
            keys.append(gguf_file.number(f"{architecture}.{name}", value))
    for name, values in _FAMILIES.items():
        if architecture in values:
            keys.append(gguf_file.number(f"{architecture}.{name}", values[architecture]))
    keys += [
        gguf_file.number(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-6, 6),
        gguf_file.string("tokenizer.ggml.model", "gpt2"),
        gguf_file.strings("tokenizer.ggml.tokens", [f"t{index}" for index in range(_N_VOCAB)]),
        gguf_file.numbers("tokenizer.ggml.token_type", [1.0] * _N_VOCAB),
    ]
    return keys


def _rows(architecture: str) -> list[Row]:
    def row(name: str, shape: tuple[int, ...], type_name: str) -> Row:
        return Row(Text(name.encode()), shape, TENSOR_TYPE_NUMBERS[type_name])

    rows = [row("token_embd.weight", (_N_EMBD, _N_VOCAB), "Q8_0")]
    for layer in range(_N_LAYER):
        rows.append(row(f"blk.{layer}.attn_norm.weight", (_N_EMBD,), "F32"))
        rows.append(row(f"blk.{layer}.attn_q.weight", (_N_EMBD, _N_EMBD), "Q4_0"))
        rows.append(row(f"blk.{layer}.ffn_down.weight", (128, _N_EMBD), "F16"))
    if architecture in _FAMILIES["expert_count"]:
        rows.append(row("blk.1.ffn_up_exps.weight", (_N_EMBD, 128, 4), "Q4_0"))
    rows.append(row("rope_freqs.weight", (8,), "F32"))
    rows.append(row("output_norm.weight", (_N_EMBD,), "F32"))
    if not architecture.startswith("gemma"):
        rows.append(row("output.weight", (_N_EMBD, _N_VOCAB), "Q8_0"))
    return rows
