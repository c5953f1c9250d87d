"""Writing GGUF files: metadata of the few types that a stand-in needs, the tensor table, and the data."""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from layertune.models.ggml_types import ALIGNMENT, TENSOR_TYPE_NUMBERS, TENSOR_TYPES
from layertune.units import pad

_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor to write. `shape` is in ggml's order, fastest dimension first; `type` is a name like `Q4_K`."""

    name: str
    shape: tuple[int, ...]
    type: str

    @property
    def n_bytes(self) -> int:
        tensor_type = TENSOR_TYPES[TENSOR_TYPE_NUMBERS[self.type]]
        n_values = 1
        for extent in self.shape:
            n_values *= extent
        return n_values // tensor_type.n_block * tensor_type.block_bytes


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def key_string(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", _STRING) + text(value)


def key_u32(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", _U32, value)


def key_f32(key: str, value: float) -> bytes:
    return text(key) + struct.pack("<If", _F32, value)


def key_bool(key: str, value: bool) -> bytes:
    return text(key) + struct.pack("<I?", _BOOL, value)


def key_strings(key: str, values: Sequence[str]) -> bytes:
    return text(key) + struct.pack("<IIQ", _ARRAY, _STRING, len(values)) + b"".join(map(text, values))


def key_i32s(key: str, values: Sequence[int]) -> bytes:
    return text(key) + struct.pack(f"<IIQ{len(values)}i", _ARRAY, _I32, len(values), *values)


def copied(file: BinaryIO, extent: tuple[int, int]) -> bytes:
    """Return the bytes of a key and its value from another file, between two offsets."""
    file.seek(extent[0])
    return file.read(extent[1] - extent[0])


def begin(metadata: Iterable[bytes], n_keys: int, tensors: Sequence[TensorSpec]) -> bytes:
    """Return the part of a GGUF file (version 3) before its data, padding included."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), n_keys), *metadata]
    offset = 0
    for tensor in tensors:
        shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        parts.append(text(tensor.name) + shape + struct.pack("<IQ", TENSOR_TYPE_NUMBERS[tensor.type], offset))
        offset += padded(tensor.n_bytes)
    head = b"".join(parts)
    return head.ljust(padded(len(head)), b"\0")


def write_data(file: BinaryIO, tensors: Sequence[TensorSpec], fill: Callable[[TensorSpec], Iterable[bytes]]) -> None:
    """Append every tensor's bytes, as `fill` yields them, padded to the alignment."""
    for tensor in tensors:
        for piece in fill(tensor):
            file.write(piece)
        file.write(b"\0" * (padded(tensor.n_bytes) - tensor.n_bytes))


def padded(n_bytes: int) -> int:
    return pad(n_bytes, ALIGNMENT)
