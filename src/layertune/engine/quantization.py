"""Quantizes a model file with llama.cpp's own function, or asks it which type each tensor would get.

Progress and types are reported only in the log, one line per tensor (src/llama-quant.cpp, llama_model_quantize_impl).
"""

import ctypes
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layertune.engine import library
from layertune.engine.refusal import EngineRefused
from layertune.models.ggml_types import FILE_TYPE_NUMBERS
from layertune.models.quantization import Mixture
from layertune.units import MIB

_TENSOR = re.compile(r"\[ *(?P<n>\d+)/ *(?P<of>\d+)\] (?P<name>.+?) +- \[.*\], type = +(?P<type>\w+), (?P<rest>.*)")
_CHANGED = re.compile(r"\((\w+)\)")
_FALLBACK = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback quantization")
_FAILED = re.compile(r"failed to quantize: (.*)")
_NOT_WRITTEN = "iostream error"  # the message of std::ofstream's exceptions
_NEEDS_IMATRIX = "will require an imatrix"
# llama.cpp's default is 8 GiB; larger tensors are done in several parts, with the same result.
_BUFFER_BYTES = 256 * MIB
_MOST_TEXT_BYTES = 127  # llama.h, llama_model_kv_override
_TEXT_OVERRIDE = 3  # llama.h, LLAMA_KV_OVERRIDE_TYPE_STR


def quantize(
    source: Path,
    output: Path | None,
    file_type: str,
    *,
    n_threads: int,
    imatrix: Mapping[str, NDArray[np.float32]],
    notes: Mapping[str, str],
) -> None:
    """Write `source` in another type.

    Args:
        source: The model file; of a split model, the first.
        output: The file to write; None to log the tensors' types and write nothing.
        file_type: The type, like `Q3_K_M`.
        n_threads: The number of threads.
        imatrix: The importance matrix by tensor. With one, llama.cpp chooses other types.
        notes: Texts for the header, by key.

    Raises:
        EngineRefused: llama.cpp cannot quantize the file.
    """
    llama_cpp = library.load()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPE_NUMBERS[file_type]
    parameters.nthread = n_threads
    parameters.allow_requantize = True
    parameters.dry_run = output is None
    parameters.max_buf_size = _BUFFER_BYTES
    # An empty entry ends each list.
    if imatrix:
        floats = ctypes.POINTER(ctypes.c_float)
        rows = [(name.encode(), values.ctypes.data_as(floats), values.size) for name, values in imatrix.items()]
        parameters.imatrix = (llama_cpp.llama_model_imatrix_data * (len(rows) + 1))(*rows)
    parameters.kv_overrides = (llama_cpp.llama_model_kv_override * (len(notes) + 1))(*_overrides(llama_cpp, notes))
    mark = library.log().mark()
    target = None if output is None else str(output).encode()
    if llama_cpp.llama_model_quantize(str(source).encode(), target or b"", ctypes.byref(parameters)) != 0:
        reasons = _FAILED.findall("\n".join(library.log().since(mark)))
        reason = reasons[-1] if reasons else "it gives no reason"
        raise EngineRefused("load", "the disk is full or not writable" if _NOT_WRITTEN in reason else reason)


def _overrides(llama_cpp: Any, notes: Mapping[str, str]) -> Iterable[Any]:
    for key, text in notes.items():
        value = llama_cpp.llama_model_kv_override_value(val_str=text.encode()[:_MOST_TEXT_BYTES])
        yield llama_cpp.llama_model_kv_override(_TEXT_OVERRIDE, key.encode(), value)


def n_done(line: str) -> tuple[int, int] | None:
    """Return the number of tensors done and of all tensors; None if the line does not report progress."""
    match = _TENSOR.match(line)
    return None if match is None else (int(match["n"]), int(match["of"]))


def read_mixture(file_type: str, lines: Iterable[str]) -> Mixture:
    """Return the tensors' types from the log of `quantize` without an output."""
    types: dict[str, str] = {}
    needs_imatrix, n_other = False, 0
    for line in lines:
        if match := _TENSOR.match(line):
            changed = _CHANGED.findall(match["rest"])
            types[match["name"]] = (changed[-1] if changed else match["type"]).upper()
        elif match := _FALLBACK.search(line):
            n_other = int(match[1])
        needs_imatrix = needs_imatrix or _NEEDS_IMATRIX in line
    return Mixture(file_type, types, needs_imatrix, n_other)
