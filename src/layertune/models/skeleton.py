"""Skeletons: a model's header without its vocabulary, in a file without data.

llama.cpp computes from a skeleton what it would allocate for the model, and loads it much faster than the model's own
header.
"""

from pathlib import Path

from layertune.errors import ModelFileError
from layertune.models import gguf_writer
from layertune.models.gguf_header import read_header
from layertune.models.gguf_writer import TensorSpec
from layertune.models.shape import ModelShape

_NOT_COPIED = ("split.", "general.alignment", "tokenizer.")
_TOKEN_TYPES = "tokenizer.ggml.token_type_count"  # models like BERT: the number of rows of token_types.weight
_EMBEDDING = "token_embd.weight"
_MAX_VOCABULARY = 2**22  # 16 times Gemma's; llama.cpp takes 50 bytes for each token, whatever the file's size


def write_skeleton(shape: ModelShape, output: Path) -> None:
    """Write the skeleton of a model. The file is as long as if it had the tensors' data, which is a hole in it.

    Raises:
        ModelFileError: the model has no token embedding, or the file cannot be written.
    """
    embedding = next((tensor for tensor in shape.tensors if tensor.name == _EMBEDDING), None)
    if embedding is None:
        raise ModelFileError(f"{shape.files[0]} has no token embedding", remedy="give a language model's GGUF file")
    if len(embedding.shape) < 2 or not 0 < embedding.shape[-1] <= _MAX_VOCABULARY:
        raise ModelFileError(
            f"{shape.files[0]}: {_EMBEDDING} is not of 1 to {_MAX_VOCABULARY} tokens",
            remedy="give a language model's GGUF file",
        )
    header = read_header(shape.files[0])
    vocabulary_key = f"{shape.architecture}.vocab_size"
    with shape.files[0].open("rb") as file:
        metadata = [
            gguf_writer.copied(file, extent)
            for key, extent in header.extents.items()
            if (key == _TOKEN_TYPES or not key.startswith(_NOT_COPIED)) and key != vocabulary_key
        ]
    # llama-vocab.cpp: a tokenizer named "none" has no words, and as many as `vocab_size` says.
    metadata.append(gguf_writer.key_string("tokenizer.ggml.model", "none"))
    metadata.append(gguf_writer.key_u32(vocabulary_key, embedding.shape[-1]))
    plans = [TensorSpec(tensor.name, tensor.shape, tensor.type) for tensor in shape.tensors]
    head = gguf_writer.begin(metadata, len(metadata), plans)
    try:
        with output.open("wb") as out:
            out.write(head)
            out.truncate(len(head) + sum(gguf_writer.padded(plan.n_bytes) for plan in plans))
    except OSError as error:
        raise ModelFileError(f"cannot write {output}: {error.strerror}", remedy="set TMPDIR to a folder") from error
