"""The shape of a model: everything that its memory and speed depend on, without its weights and vocabulary."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layertune.errors import ModelFileError, listed
from layertune.models.ggml_types import FILE_TYPES
from layertune.models.gguf_header import MAX_TENSORS, Header, Undecoded, read_header
from layertune.models.hparams import check_layers, check_numbers

_SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<n>\d{5})\.gguf")

# Encoders whose src/models/NAME.cpp creates no output layer.
_WITHOUT_OUTPUT = frozenset({
    "bert", "eurobert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor. `shape` is in ggml's order, fastest dimension first; `file` is the part of a split model, from 0."""

    name: str
    shape: tuple[int, ...]
    type: str
    n_bytes: int
    file: int


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model without its weights.

    `n_layer` counts the repeating layers, as n_gpu_layers does. It is llama.cpp's n_layer_all (src/llama-hparams.h),
    which is larger than the number of blocks in the file if blocks run several times.
    `metadata` has all numbers, texts and arrays of numbers of the header, except the tokenizer's.
    """

    files: tuple[Path, ...]
    architecture: str
    name: str | None
    quantization: str | None
    file_bytes: int
    n_layer: int
    n_embd: int
    n_ctx_train: int
    tensors: tuple[TensorInfo, ...]
    metadata: Mapping[str, Any]

    def digest(self) -> str:
        """Return a SHA-256, in hex, of everything that the model's memory depends on. Files of equal shape have the
        same."""
        values = [self.architecture, dict(self.metadata), [(each.name, each.shape, each.type) for each in self.tensors]]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    @property
    def tied_embeddings(self) -> bool:
        """Whether the output layer is the token embedding; a GPU then holds a second copy of it."""
        has_output = any(tensor.name == "output.weight" for tensor in self.tensors)
        return not has_output and self.architecture not in _WITHOUT_OUTPUT

    def number(self, key: str) -> Any:
        """Return the value of `ARCHITECTURE.key` in the metadata, None if the file does not have it."""
        return self.metadata.get(f"{self.architecture}.{key}")


def read_shape(path: Path) -> ModelShape:
    """Read a model's shape; of a split model, give the first file.

    Raises:
        ModelFileError: a file is missing, damaged, or no model.
    """
    headers = [read_header(path)]
    files = _parts(path, headers[0])
    for file in files[1:]:
        headers.append(read_header(file))
        _check_n_tensors(path, headers)
    metadata = headers[0].metadata
    _check_parts(files, headers)
    architecture = _text(path, metadata, "general.architecture")
    name, file_type = metadata.get("general.name"), metadata.get("general.file_type")
    shape = ModelShape(
        files=files,
        architecture=architecture,
        name=name if isinstance(name, str) else None,
        quantization=FILE_TYPES.get(file_type) if isinstance(file_type, int) else None,
        file_bytes=sum(header.file_bytes for header in headers),
        n_layer=_n_layer(path, metadata, architecture),
        n_embd=_count(path, metadata, f"{architecture}.embedding_length"),
        n_ctx_train=_count(path, metadata, f"{architecture}.context_length"),
        tensors=tuple(
            TensorInfo(tensor.name, tensor.shape, tensor.type, tensor.n_bytes, number)
            for number, header in enumerate(headers)
            for tensor in header.tensors
        ),
        metadata={
            key: value
            for key, value in metadata.items()
            if not isinstance(value, Undecoded) and not key.startswith("tokenizer.")
        },
    )
    check_numbers(path, architecture, metadata)
    check_layers(path, (tensor.name for tensor in shape.tensors), shape.n_layer)
    return shape


def part_files(path: Path) -> Iterator[Path]:
    """Yield the paths of all files of a model, from the name of its first file; the files need not exist."""
    match = _SPLIT_NAME.fullmatch(path.name)
    if match is None or int(match["n"]) == 0:
        yield path
        return
    for part in range(1, int(match["n"]) + 1):
        yield path.with_name(_part_name(match["stem"], part, int(match["n"])))


def _part_name(stem: str, part: int, n_parts: int) -> str:
    """Return a part's file name as llama.cpp builds it (llama_split_path)."""
    return f"{stem}-{part:05}-of-{n_parts:05}.gguf"


def _parts(path: Path, header: Header) -> tuple[Path, ...]:
    """Return all files of a model, as many as its header declares."""
    n_parts = header.metadata.get("split.count", 1)
    if not isinstance(n_parts, int) or n_parts <= 1:
        return (path,)
    match = _SPLIT_NAME.fullmatch(path.name)
    if match is None:
        raise ModelFileError(f"{path} is one of {n_parts} parts", remedy="name it like NAME-00001-of-00003.gguf")
    if int(match["n"]) != n_parts:
        raise ModelFileError(
            f"{path} is one of {n_parts} parts, but its name has another number", remedy="restore its name"
        )
    if int(match["part"]) != 1:
        raise ModelFileError(
            f"{path} is part {int(match['part'])} of {n_parts}",
            remedy=f"give the first part, {_part_name(match['stem'], 1, n_parts)}",
        )
    missing = listed(file.name for file in part_files(path) if not file.exists())
    if missing:
        raise ModelFileError(f"{path} lacks {missing}", remedy="put all parts into one folder")
    return tuple(part_files(path))


def _check_n_tensors(path: Path, headers: Sequence[Header]) -> None:
    """Check that all parts together have no more tensors than one header may have."""
    n_tensors = sum(len(header.tensors) for header in headers)
    if n_tensors > MAX_TENSORS:
        raise ModelFileError(
            f"{path}: its parts have more than {MAX_TENSORS} tensors", remedy="give a language model's GGUF file"
        )


def _check_parts(files: Sequence[Path], headers: Sequence[Header]) -> None:
    """Check, as llama-model-loader.cpp does, that each part has the number in its name and that none is missing."""
    n_tensors, promised = sum(len(header.tensors) for header in headers), headers[0].metadata.get("split.tensors.count")
    if n_tensors == 0:
        raise ModelFileError(f"{files[0]} is no model: it has no tensors", remedy="give a model's GGUF file")
    if len(files) == 1:
        return
    for number, (file, header) in enumerate(zip(files, headers, strict=True)):
        if header.metadata.get("split.no") != number:
            raise ModelFileError(f"{file} is not part {number + 1} of its model", remedy="download all parts again")
    if promised is not None and promised != n_tensors:
        raise ModelFileError(
            f"the parts of {files[0]} hold {n_tensors} tensors where it promises {promised}",
            remedy="download all parts again",
        )


def _n_layer(path: Path, metadata: Mapping[str, Any], architecture: str) -> int:
    """Return how many repeating layers llama.cpp runs: nanbeige.cpp runs all blocks `num_loops` times,
    granite-switch.cpp adds a layer for its router."""
    n_layer = _count(path, metadata, f"{architecture}.block_count")
    loops_key = f"{architecture}.num_loops"
    if architecture == "nanbeige" and loops_key in metadata:
        n_layer *= _count(path, metadata, loops_key)
    elif architecture == "graniteswitch":
        n_layer += 1
    return n_layer


def _text(path: Path, metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    if not isinstance(value, str):
        raise ModelFileError(f"{path} is no model: it has no {key}", remedy="give a model's GGUF file")
    return value


def _count(path: Path, metadata: Mapping[str, Any], key: str) -> int:
    value = metadata.get(key)
    if not isinstance(value, int) or value <= 0:
        raise ModelFileError(
            f"{path} is no language model: it has no {key}", remedy="give a language model's GGUF file"
        )
    return value
