"""Reading a GGUF header: metadata and tensor table, never a weight (ggml/docs/gguf.md, ggml/src/gguf.cpp).

Strings and numbers are decoded. Arrays of strings, which are a tokenizer's 150,000 words, are only measured: building
them would take longer than everything else. Every length is checked against the file, and against what any model has,
before it is believed.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layertune.errors import ModelFileError
from layertune.models.types import ALIGNMENT, TENSOR_TYPES

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)  # llama.cpp reads these; version 1 was dropped in 2023
_MAX_DIMENSIONS = 4  # ggml.h: GGML_MAX_DIMS
_MAX_NAME_BYTES = 63  # ggml.h: GGML_MAX_NAME with its terminator
_MAX_EXTENT = 2**63  # gguf.cpp: extents and their product are int64
# Eight times the largest array known, Gemma 4's 514,906 merges; bounds texts in bytes too. gguf.cpp allows 2^30, which
# in Python's objects is all of a small machine's memory.
_MAX_COUNT = 2**22
_MIN_KEY_VALUE_BYTES = 8 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 4 + 4 + 8

_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

_DOWNLOAD_AGAIN = "download it again"


@dataclass(frozen=True, slots=True)
class StringArray:
    """An array of strings that was not decoded: how many there are."""

    n: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table. `shape` as ggml has it, fastest dimension first; `offset` from the data's begin."""

    name: str
    shape: tuple[int, ...]
    type: str
    n_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """A GGUF header. `extents` tells where each key with its value begins and ends in the file, in bytes."""

    version: int
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    extents: dict[str, tuple[int, int]]
    data_offset: int
    file_bytes: int


def read_header(path: Path) -> Header:
    """Read and check a GGUF file's header.

    Raises:
        ModelFileError: the file is missing, is no GGUF that llama.cpp reads, is damaged or truncated.
    """
    try:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder", remedy="give the GGUF file in it")
        if path.exists() and not path.is_file():
            raise ModelFileError(f"{path} is not a regular file", remedy="give a .gguf file")
        with path.open("rb") as file:
            file_bytes = file.seek(0, 2)
            if file_bytes < 24:
                raise ModelFileError(f"{path} is not a GGUF file: it has {file_bytes} bytes", remedy=_DOWNLOAD_AGAIN)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).header()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    except ValueError as error:  # a path with a zero byte, or a file that shrinks while it is mapped
        raise ModelFileError(f"cannot read {str(path)!r}: {error}", remedy="check the path") from error


class _Reader:
    """A cursor over one file. Numbers are little-endian."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._end = len(data)
        self._at = 0

    def header(self) -> Header:
        magic = self._bytes(4)
        if magic != _MAGIC:
            raise ModelFileError(
                f"{self._path} is not a GGUF file: it begins with {magic!r}", remedy="give a .gguf file"
            )
        version = self._number("I")
        if version not in _VERSIONS:
            raise self._unsupported(version)
        n_tensors, n_keys = self._number("Q"), self._number("Q")
        self._check_count(n_keys, _MIN_KEY_VALUE_BYTES, "keys")
        self._check_count(n_tensors, _MIN_TENSOR_BYTES, "tensors")
        metadata: dict[str, Any] = {}
        extents: dict[str, tuple[int, int]] = {}
        for _ in range(n_keys):
            begin = self._at
            key = self._string()
            if not key:
                raise self._damaged("a key has no name")
            if key in metadata:
                raise self._damaged(f"the key {key!r} stands twice")
            metadata[key] = self._value(self._number("I"))
            extents[key] = (begin, self._at)
        rows: dict[str, Tensor] = {}
        for _ in range(n_tensors):
            tensor = self._tensor()
            if tensor.name in rows:
                raise self._damaged(f"two tensors have the same name, {tensor.name!r}")
            rows[tensor.name] = tensor
        tensors = tuple(rows.values())
        alignment = self._alignment(metadata)
        data_offset = -(-self._at // alignment) * alignment
        self._check_extents(tensors, alignment, data_offset)
        return Header(version, metadata, tensors, extents, data_offset, self._end)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string(errors="backslashreplace")  # llama.cpp does not mind a description of odd bytes
        if kind == _ARRAY:
            return self._array()
        return self._number(self._format(kind))

    def _array(self) -> Any:
        kind, n = self._number("I"), self._number("Q")
        if kind == _STRING:
            self._check_count(n, 8, "strings")
            self._skip_strings(n)
            return StringArray(n)
        if kind == _ARRAY:
            raise self._damaged("an array holds arrays, which llama.cpp does not read")
        item = self._format(kind)
        self._check_count(n, struct.calcsize(item), "numbers")
        return struct.unpack(f"<{n}{item}", self._bytes(n * struct.calcsize(item)))

    def _tensor(self) -> Tensor:
        name = self._string()
        if len(name.encode()) > _MAX_NAME_BYTES:
            raise self._damaged(f"a tensor's name is longer than {_MAX_NAME_BYTES} bytes")
        n_dimensions = self._number("I")
        if n_dimensions > _MAX_DIMENSIONS:
            raise self._damaged(f"tensor {name!r} has {n_dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(n_dimensions))
        number = self._number("I")
        tensor_type = TENSOR_TYPES.get(number)
        if tensor_type is None:
            raise ModelFileError(
                f"{self._path}: tensor {name!r} has the unknown type {number}",
                remedy="update layertune, or the file is damaged",
            )
        row = shape[0] if shape else 1
        if row % tensor_type.n_block != 0:
            raise self._damaged(f"tensor {name!r} has rows of {row} values, which {tensor_type.name} cannot store")
        n_values = 1
        for extent in shape:
            n_values *= extent
        if max(n_values, *shape, 0) >= _MAX_EXTENT:
            raise self._damaged(f"tensor {name!r} has the impossible shape {shape}")
        n_bytes = n_values // tensor_type.n_block * tensor_type.block_bytes
        return Tensor(name, shape, tensor_type.name, n_bytes, self._number("Q"))

    def _alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            raise self._damaged(f"general.alignment is {alignment!r}, not a power of two")
        return alignment

    def _check_extents(self, tensors: tuple[Tensor, ...], alignment: int, data_offset: int) -> None:
        """As gguf.cpp: the data follows the table without a gap, in its order. A vocabulary alone has no data."""
        if not tensors:
            return
        expected = 0
        for tensor in tensors:
            if tensor.offset != expected:
                raise self._damaged(f"tensor {tensor.name!r} begins at {tensor.offset} where {expected} is next")
            expected += -(-tensor.n_bytes // alignment) * alignment
        needed = data_offset + tensors[-1].offset + tensors[-1].n_bytes
        if needed > self._end:
            raise ModelFileError(
                f"{self._path} is truncated: its tensors need {needed} bytes and it has {self._end}",
                remedy=_DOWNLOAD_AGAIN,
            )

    def _string(self, errors: str = "strict") -> str:
        n_bytes = self._number("Q")
        self._check_count(n_bytes, 1, "bytes of text")
        try:
            return self._bytes(n_bytes).decode(errors=errors)
        except UnicodeDecodeError as error:
            raise self._damaged("a string is not UTF-8") from error

    def _format(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise self._damaged(f"a value has the unknown type {kind}")
        return _NUMBERS[kind]

    def _number(self, item: str) -> Any:
        return struct.unpack("<" + item, self._bytes(struct.calcsize("<" + item)))[0]

    def _bytes(self, n_bytes: int) -> bytes:
        begin = self._at
        self._skip(n_bytes)
        return self._data[begin : self._at]

    def _skip_strings(self, n: int) -> None:
        """As n times `_skip(self._number("Q"))`, five times as fast: there are 300,000 of them in a Qwen header."""
        at, data = self._at, self._data
        for _ in range(n):
            at += 8 + int.from_bytes(data[at : at + 8], "little")
            if at > self._end:
                raise self._damaged("its strings go on past the end of the file")
        self._at = at

    def _skip(self, n_bytes: int) -> None:
        if n_bytes > self._end - self._at:
            raise self._damaged(f"its header goes on past the end of the file, at byte {self._at}")
        self._at += n_bytes

    def _check_count(self, n: int, at_least_bytes: int, what: str) -> None:
        """A count that no model has, or that the rest of the file cannot hold, is damage."""
        if n > _MAX_COUNT or n * at_least_bytes > self._end - self._at:
            raise self._damaged(f"it claims {n} {what}, more than it can hold")

    def _damaged(self, how: str) -> ModelFileError:
        return ModelFileError(f"{self._path} is damaged: {how}", remedy=_DOWNLOAD_AGAIN)

    def _unsupported(self, version: int) -> ModelFileError:
        if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
            return ModelFileError(f"{self._path} is a big-endian GGUF", remedy="get the little-endian file")
        return ModelFileError(
            f"{self._path} is GGUF version {version}; llama.cpp reads {' and '.join(map(str, _VERSIONS))}",
            remedy="get a newer conversion of the model",
        )
