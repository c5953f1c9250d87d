"""Importance matrices, as llama-imatrix writes them (tools/imatrix/imatrix.cpp, common/imatrix-loader.cpp)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from layertune.errors import ModelFileError
from layertune.models.gguf_header import Tensor, read_header

_SUMS, _COUNTS = ".in_sum2", ".counts"
_REMEDY = "give a file of llama-imatrix; it converts its older format with --in-file OLD -o NEW.gguf"


def read_imatrix(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the mean square of each column's activations, by tensor; of experts one after the other.

    Raises:
        ModelFileError: the file cannot be read, or is no importance matrix in GGUF.
    """
    try:
        header = read_header(path)
    except ModelFileError as error:
        raise ModelFileError(error.what, remedy=_REMEDY) from error
    tensors = {tensor.name: tensor for tensor in header.tensors if tensor.type == "F32"}
    names = [name.removesuffix(_SUMS) for name in tensors if name.endswith(_SUMS)]
    if not names or any(f"{name}{_COUNTS}" not in tensors for name in names):
        raise ModelFileError(f"{path} is no importance matrix in GGUF", remedy=_REMEDY)

    def values(tensor: Tensor) -> NDArray[np.float32]:
        found = np.fromfile(path, np.float32, tensor.n_bytes // 4, offset=header.data_offset + tensor.offset)
        return found.reshape(tensor.shape[::-1])

    found = {}
    for name in names:
        sums, counts = values(tensors[name + _SUMS]), values(tensors[name + _COUNTS])
        n_matrices = counts.size
        sums, counts = sums.reshape(n_matrices, -1), counts.reshape(n_matrices, 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), 1)  # an expert that no token reached: all alike
        found[name] = np.ascontiguousarray(means, dtype=np.float32).reshape(-1)
    return found
