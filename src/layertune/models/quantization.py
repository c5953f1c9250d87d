"""What a model file is quantized to: the types of whole files, and the type that each tensor gets in one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layertune.errors import UsageError
from layertune.models.shape import ModelShape

# About from the largest file to the smallest. llama-quantize has others: larger ones, experiments, those of few models.
FILE_TYPES_OFFERED = (
    "Q8_0", "Q6_K", "Q5_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q4_1", "Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS",
    "Q3_K_L", "Q3_K_M", "IQ3_M", "Q3_K_S", "IQ3_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS",
    "IQ2_XXS",
)  # fmt: skip
REQUANTIZED_KEY = "layertune.requantized_from"
_FLOATS = frozenset({"F32", "F16", "BF16"})
_ENDING = re.compile(r"(-00001-of-\d{5})?\.gguf$", re.IGNORECASE)
_TYPE_ENDING = re.compile(rf"[-._]({'|'.join(FILE_TYPES_OFFERED)}|BF16|F16|F32)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mixture:
    """The tensor types that llama.cpp chooses for a file of one type.

    Attributes:
        file_type: The type of the file, like `Q3_K_M`.
        tensor_types: The type of each tensor, by name.
        needs_imatrix: Whether llama.cpp refuses to write it without an importance matrix.
        n_other: How many tensors get another type, because the block size does not divide their rows.
    """

    file_type: str
    tensor_types: Mapping[str, str]
    needs_imatrix: bool
    n_other: int


def find_types(written: str) -> tuple[str, ...]:
    """Return the file types of a list like `Q4_K_M,IQ4_XS`, each once.

    Raises:
        UsageError: one is not offered.
    """
    return tuple(dict.fromkeys(map(find_type, written.split(","))))


def find_type(written: str) -> str:
    """Return a file type as llama.cpp spells it, whatever its case.

    Raises:
        UsageError: it is not offered; the message lists those that are.
    """
    name = written.strip().upper()
    if name not in FILE_TYPES_OFFERED:
        raise UsageError(f"{written!r} is no type of a file", remedy=f"choose among {', '.join(FILE_TYPES_OFFERED)}")
    return name


def requantized_from(shape: ModelShape) -> str | None:
    """Return what the file is quantized to, and before that if its header has it; None if it is not quantized.

    Quantizing such a file again loses more than quantizing the original.
    """
    quantized = sorted({tensor.type for tensor in shape.tensors} - _FLOATS)
    if not quantized:
        return None
    now = ", ".join(quantized) if shape.quantization is None else shape.quantization
    before = shape.metadata.get(REQUANTIZED_KEY)
    return now if before is None else f"{before}, then {now}"


def quantized_path(source: Path, file_type: str, folder: Path) -> Path:
    """Return the path of a file made from `source`, like `folder/NAME-Q3_K_M.gguf`."""
    name = _TYPE_ENDING.sub("", _ENDING.sub("", source.name))
    return folder / f"{name}-{file_type}.gguf"
