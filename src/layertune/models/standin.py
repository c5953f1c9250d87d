"""Stand-ins: GGUF files with the exact tensors of a real model and random weights, to tune before downloading it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layertune.errors import ModelFileError
from layertune.models import gguf_writer
from layertune.models.disk_cache import cache_folder
from layertune.models.ggml_types import FILE_TYPE_NUMBERS
from layertune.models.gguf_header import read_header
from layertune.models.gguf_writer import TensorSpec
from layertune.models.known_models import KnownModel, tensors
from layertune.models.new_files import check_new
from layertune.models.quantization import Mixture
from layertune.models.random_weights import RandomWeights
from layertune.models.shape import ModelShape, read_shape
from layertune.models.vocabulary import Vocabulary, make_vocabulary
from layertune.written_files import replacing

_MARK = "layertune.standin"
_NOT_COPIED = ("split.", "general.alignment", _MARK)
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_FILE_TYPE = "general.file_type"
_ROPE_FREQ_BASE, _RMS_EPSILON, _N_CTX_TRAIN = 1_000_000.0, 1e-6, 32_768  # config.json of Qwen2.5-Instruct


@dataclass(frozen=True, slots=True)
class Standin:
    """A stand-in to be written: `head` is everything before the data."""

    head: bytes
    tensors: tuple[TensorSpec, ...]

    @property
    def file_bytes(self) -> int:
        return len(self.head) + sum(gguf_writer.padded(tensor.n_bytes) for tensor in self.tensors)

    def write(self, output: Path, *, seed: int = 0, overwrite: bool = False) -> None:
        """Write the file, a few MiB at a time. It appears under its name when it is complete.

        Raises:
            ModelFileError: the file exists already, or the disk is full or not writable.
        """
        check_new({output: self.file_bytes}, overwrite=overwrite)
        try:
            with replacing(output) as file:
                file.write(self.head)
                gguf_writer.write_data(file, self.tensors, RandomWeights(seed).fill)
        except OSError as error:
            raise ModelFileError(f"cannot write {output}: {error.strerror}", remedy="check the folder") from error


def standin_skeleton(model: KnownModel, cache: Path | None = None) -> Path:
    """Return a file with the model's header and a hole in place of the weights, from the cache. A memory plan needs no
    more.

    Raises:
        ModelFileError: the cache folder cannot be written.
    """
    output = (cache or cache_folder()) / "skeletons" / f"{model.name}-Q4_K_M.gguf"
    planned = known_standin(model)
    try:
        if not output.exists() or output.stat().st_size != planned.file_bytes:
            output.parent.mkdir(parents=True, exist_ok=True)
            with replacing(output) as file:
                file.write(planned.head)
                file.truncate(planned.file_bytes)
    except OSError as error:
        raise ModelFileError(f"cannot write {output}: {error.strerror}", remedy="set XDG_CACHE_HOME") from error
    return output


def known_standin(model: KnownModel) -> Standin:
    """Return the stand-in of a known model."""
    return _standin(_metadata(model), tuple(tensors(model)))


def standin_like(template: Path, mixture: Mixture | None = None) -> Standin:
    """Return a stand-in of any GGUF file, in one file, with its metadata and tokenizer.

    Keys about the template's own layout are left out: those of its parts and its alignment.

    Args:
        template: The file.
        mixture: The tensors' types; without it those of the template.

    Raises:
        ModelFileError: the template cannot be read.
    """
    shape, header = read_shape(template), read_header(template)
    not_copied = _NOT_COPIED if mixture is None else (*_NOT_COPIED, _FILE_TYPE)
    with template.open("rb") as file:
        metadata = [
            gguf_writer.copied(file, extent) for key, extent in header.extents.items() if not key.startswith(not_copied)
        ]
    if mixture is not None:
        metadata.append(gguf_writer.key_u32(_FILE_TYPE, FILE_TYPE_NUMBERS[mixture.file_type]))
    types = {tensor.name: tensor.type for tensor in shape.tensors} if mixture is None else mixture.tensor_types
    plans = tuple(TensorSpec(tensor.name, tensor.shape, types[tensor.name]) for tensor in shape.tensors)
    return _standin([*metadata, gguf_writer.key_bool(_MARK, True)], plans)


def is_standin(shape: ModelShape) -> bool:
    """Return whether a file's header says that its weights are random."""
    return bool(shape.metadata.get(_MARK, False))


def _standin(metadata: Sequence[bytes], plans: tuple[TensorSpec, ...]) -> Standin:
    return Standin(gguf_writer.begin(metadata, len(metadata), plans), plans)


def _metadata(model: KnownModel) -> list[bytes]:
    vocabulary = make_vocabulary(model.n_vocab)
    return [
        gguf_writer.key_string("general.architecture", "qwen2"),
        gguf_writer.key_string("general.type", "model"),
        gguf_writer.key_string("general.name", f"{model.name} (layertune stand-in: random weights)"),
        gguf_writer.key_bool(_MARK, True),
        gguf_writer.key_u32("qwen2.block_count", model.n_layer),
        gguf_writer.key_u32("qwen2.context_length", _N_CTX_TRAIN),
        gguf_writer.key_u32("qwen2.embedding_length", model.n_embd),
        gguf_writer.key_u32("qwen2.feed_forward_length", model.n_ff),
        gguf_writer.key_u32("qwen2.attention.head_count", model.n_head),
        gguf_writer.key_u32("qwen2.attention.head_count_kv", model.n_head_kv),
        gguf_writer.key_f32("qwen2.rope.freq_base", _ROPE_FREQ_BASE),
        gguf_writer.key_f32("qwen2.attention.layer_norm_rms_epsilon", _RMS_EPSILON),
        gguf_writer.key_u32(_FILE_TYPE, FILE_TYPE_NUMBERS["Q4_K_M"]),
        gguf_writer.key_u32("general.quantization_version", 2),
        *_tokenizer(vocabulary),
    ]


def _tokenizer(vocabulary: Vocabulary) -> Iterable[bytes]:
    return (
        gguf_writer.key_string("tokenizer.ggml.model", "gpt2"),
        gguf_writer.key_string("tokenizer.ggml.pre", "qwen2"),
        gguf_writer.key_strings("tokenizer.ggml.tokens", vocabulary.tokens),
        gguf_writer.key_i32s("tokenizer.ggml.token_type", vocabulary.types),
        gguf_writer.key_strings("tokenizer.ggml.merges", vocabulary.merges),
        gguf_writer.key_u32("tokenizer.ggml.eos_token_id", vocabulary.end_of_turn),
        gguf_writer.key_u32("tokenizer.ggml.padding_token_id", vocabulary.end_of_text),
        gguf_writer.key_u32("tokenizer.ggml.bos_token_id", vocabulary.end_of_text),
        gguf_writer.key_bool("tokenizer.ggml.add_bos_token", False),
        gguf_writer.key_string("tokenizer.chat_template", _CHAT_TEMPLATE),
    )
