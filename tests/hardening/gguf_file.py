"""A GGUF header as a list of parts, each of which may be made wrong before it is written."""

import struct
from dataclasses import dataclass
from itertools import groupby

from layertune.models.ggml_types import TENSOR_TYPES
from layertune.models.gguf_writer import padded

NUMBER_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@dataclass(slots=True)
class Text:
    """A string; `claimed` is its length as the file states it."""

    raw: bytes
    claimed: int | None = None

    def encode(self) -> bytes:
        return struct.pack("<Q", len(self.raw) if self.claimed is None else self.claimed) + self.raw


@dataclass(slots=True)
class Key:
    """A key with its value's type and bytes."""

    name: Text
    kind: int
    value: bytes

    def encode(self) -> bytes:
        return self.name.encode() + struct.pack("<I", self.kind) + self.value


@dataclass(slots=True)
class Row:
    """One row of the tensor table. `n_dimensions` and `offset` are as the file states them; None is the right one."""

    name: Text
    shape: tuple[int, ...]
    type: int
    n_dimensions: int | None = None
    offset: int | None = None

    @property
    def n_bytes(self) -> int:
        _, n_block, block_bytes = TENSOR_TYPES.get(self.type, TENSOR_TYPES[0])
        n_values = 1
        for extent in self.shape:
            n_values *= extent
        return n_values // n_block * block_bytes

    def encode(self, offset: int) -> bytes:
        n_dimensions = len(self.shape) if self.n_dimensions is None else self.n_dimensions
        shape = struct.pack(f"<I{len(self.shape)}Q", n_dimensions % 2**32, *(extent % 2**64 for extent in self.shape))
        where = offset if self.offset is None else self.offset
        return self.name.encode() + shape + struct.pack("<IQ", self.type % 2**32, where % 2**64)


@dataclass(slots=True)
class GgufFile:
    """A whole file. `n_keys` and `n_rows` are as it states them; None is the right number."""

    keys: list[Key]
    rows: list[Row]
    version: int = 3
    n_keys: int | None = None
    n_rows: int | None = None
    name: str = "model.gguf"

    def encode(self) -> tuple[bytes, int]:
        """Return the header's bytes and how many bytes its tensors need after them."""
        n_keys = len(self.keys) if self.n_keys is None else self.n_keys
        n_rows = len(self.rows) if self.n_rows is None else self.n_rows
        parts = [b"GGUF", struct.pack("<IQQ", self.version % 2**32, n_rows % 2**64, n_keys % 2**64)]
        parts += [key.encode() for key in self.keys]
        offset = 0
        for row in self.rows:
            parts.append(row.encode(offset))
            offset += padded(row.n_bytes)
        head = b"".join(parts)
        return head.ljust(padded(len(head)), b"\0"), offset


def number(name: str, value: float, kind: int = 4) -> Key:
    return Key(Text(name.encode()), kind, pack_number(kind, value))


def string(name: str, value: str | bytes) -> Key:
    raw = value.encode() if isinstance(value, str) else value
    return Key(Text(name.encode()), STRING, Text(raw).encode())


def numbers(name: str, values: list[float], kind: int = 5, claimed: int | None = None) -> Key:
    n = len(values) if claimed is None else claimed
    packed = b"".join(pack_number(kind, value) * sum(1 for _ in run) for value, run in groupby(values))
    return Key(Text(name.encode()), ARRAY, struct.pack("<IQ", kind, n % 2**64) + packed)


def strings(name: str, values: list[str], claimed: int | None = None) -> Key:
    n = len(values) if claimed is None else claimed
    packed = b"".join(Text(value.encode()).encode() * sum(1 for _ in run) for value, run in groupby(values))
    return Key(Text(name.encode()), ARRAY, struct.pack("<IQ", STRING, n % 2**64) + packed)


def pack_number(kind: int, value: float) -> bytes:
    """Pack a number as its type can hold it: whole ones wrap around."""
    form = NUMBER_FORMATS[kind]
    if form == "f":
        return struct.pack("<f", value if abs(value) < 3e38 or value != value or value in (INF, -INF) else 3e38)
    if form == "d":
        return struct.pack("<d", value)
    whole = 0 if value != value or value in (INF, -INF) else int(value)
    return (whole % 2 ** (8 * struct.calcsize(form))).to_bytes(struct.calcsize(form), "little")


INF = float("inf")
