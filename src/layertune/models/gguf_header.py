"""Reading a GGUF header: metadata and tensor table, never a weight (ggml/docs/gguf.md, ggml/src/gguf.cpp).

Strings and numbers are decoded. Of long arrays and arrays of strings, such as a tokenizer's 150,000 words, only the
length is kept: decoding them would take longer than everything else. Every length is compared with the file's size and
with the limits below before anything is read, so time and memory are bounded for any header.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layertune.errors import ModelFileError
from layertune.models.ggml_types import ALIGNMENT, TENSOR_TYPES
from layertune.models.hparams import MAX_LAYERS
from layertune.units import format_bytes

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)  # llama.cpp reads these; version 1 was dropped in 2023
_MAX_DIMENSIONS = 4  # ggml.h: GGML_MAX_DIMS
_MAX_NAME_BYTES = 63  # ggml.h: GGML_MAX_NAME with its terminator
_MAX_EXTENT = 2**63  # gguf.cpp: extents and their product are int64
_MAX_ALIGNMENT = 2**31  # gguf.cpp: a uint32

# Limits of one file. gguf.cpp limits each string and each array to 2^30, which is more than a machine's memory, and
# does not limit how many there are. These limits are several times what the largest models have: Gemma 4 has 777,050
# strings in arrays, and about 15 MiB of keys in all.
_MAX_KEYS = 2**14
_MAX_KEY_BYTES = 2**26
_MAX_TEXT_BYTES = 2**22
_MAX_ARRAY_STRINGS = 3 * 2**19
_MAX_ARRAY_NUMBERS = 2**16  # in all arrays that are decoded
MAX_TENSORS = 32 * MAX_LAYERS

_MIN_KEY_VALUE_BYTES = 8 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 4 + 4 + 8

_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

_DOWNLOAD_AGAIN = "download it again"


@dataclass(frozen=True, slots=True)
class Undecoded:
    """The length of an array that was not decoded: it holds strings, or more numbers than a model has layers."""

    n: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table. `shape` is in ggml's order, fastest dimension first; `offset` is in bytes from the
    start of the data."""

    name: str
    shape: tuple[int, ...]
    type: str
    n_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """A GGUF header. `extents` has the byte offsets at which each key with its value begins and ends in the file."""

    version: int
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    extents: dict[str, tuple[int, int]]
    data_offset: int
    file_bytes: int


def read_header(path: Path) -> Header:
    """Read and check a GGUF file's header.

    Raises:
        ModelFileError: the file is missing, damaged, truncated, or not a GGUF version that llama.cpp reads.
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
        self._n_text_bytes = self._n_array_strings = self._n_array_numbers = 0

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
        self._check_count(n_keys, _MIN_KEY_VALUE_BYTES, _MAX_KEYS, "keys")
        self._check_count(n_tensors, _MIN_TENSOR_BYTES, MAX_TENSORS, "tensors")
        metadata, extents = self._keys(n_keys)
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

    def _keys(self, n_keys: int) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
        """Return each key's value, and the offsets at which each key with its value begins and ends."""
        metadata: dict[str, Any] = {}
        extents: dict[str, tuple[int, int]] = {}
        for _ in range(n_keys):
            begin = self._at
            key = self._string()
            if not key:
                raise self._damaged("a key has no name")
            if key in metadata:
                raise self._damaged(f"the key {key!r} occurs twice")
            metadata[key] = self._value(self._number("I"))
            extents[key] = (begin, self._at)
            if self._at > _MAX_KEY_BYTES:
                raise self._too_much(f"its keys take more than {format_bytes(_MAX_KEY_BYTES)}")
        return metadata, extents

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string(errors="backslashreplace")  # llama.cpp accepts texts that are not UTF-8
        if kind == _ARRAY:
            return self._array()
        return self._number(self._format(kind))

    def _array(self) -> Any:
        kind, n = self._number("I"), self._number("Q")
        if kind == _STRING:
            self._n_array_strings += n
            self._check_count(n, 8, _MAX_ARRAY_STRINGS, "strings", self._n_array_strings)
            self._skip_strings(n)
            return Undecoded(n)
        if kind == _ARRAY:
            raise self._damaged("an array holds arrays, which llama.cpp does not read")
        item = self._format(kind)
        n_bytes = struct.calcsize(f"<{item}")
        if n > MAX_LAYERS:
            self._check_count(n, n_bytes, _MAX_KEY_BYTES, "numbers")
            self._skip(n * n_bytes)
            return Undecoded(n)
        self._n_array_numbers += n
        self._check_count(n, n_bytes, _MAX_ARRAY_NUMBERS, "numbers", self._n_array_numbers)
        return struct.unpack(f"<{n}{item}", self._bytes(n * n_bytes))

    def _tensor(self) -> Tensor:
        name = self._name()
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
        if type(alignment) is not int or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise self._damaged("general.alignment is not a power of two below 2^32")
        return alignment

    def _check_extents(self, tensors: tuple[Tensor, ...], alignment: int, data_offset: int) -> None:
        """Check, as gguf.cpp does, that the data is in the table's order without gaps. A vocabulary has no data."""
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
        self._n_text_bytes += n_bytes
        self._check_count(n_bytes, 1, _MAX_TEXT_BYTES, "bytes of text", self._n_text_bytes)
        return self._decoded(n_bytes, errors)

    def _name(self) -> str:
        n_bytes = self._number("Q")
        if n_bytes > _MAX_NAME_BYTES:
            raise self._damaged(f"a tensor's name is longer than {_MAX_NAME_BYTES} bytes")
        return self._decoded(n_bytes, "strict")

    def _decoded(self, n_bytes: int, errors: str) -> str:
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
        """Do the same as n times `_skip(self._number("Q"))`, five times as fast: a Qwen header has 300,000 strings."""
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

    def _check_count(self, n: int, at_least_bytes: int, most: int, what: str, n_in_all: int = 0) -> None:
        """Refuse a count that does not fit the rest of the file, or that makes the total larger than `most`."""
        if n * at_least_bytes > self._end - self._at:
            raise self._damaged(f"it claims {n} {what}, which do not fit into it")
        if max(n, n_in_all) > most:
            raise self._too_much(f"it has {max(n, n_in_all)} {what}; layertune reads at most {most}")

    def _too_much(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self._path}: {what}", remedy="give a language model's GGUF file")

    def _damaged(self, how: str) -> ModelFileError:
        return ModelFileError(f"{self._path} is damaged: {how}", remedy=_DOWNLOAD_AGAIN)

    def _unsupported(self, version: int) -> ModelFileError:
        if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
            return ModelFileError(f"{self._path} is a big-endian GGUF", remedy="get the little-endian file")
        return ModelFileError(
            f"{self._path} is GGUF version {version}; llama.cpp reads {' and '.join(map(str, _VERSIONS))}",
            remedy="get a newer conversion of the model",
        )
