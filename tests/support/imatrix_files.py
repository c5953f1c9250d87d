"""Importance matrices as llama-imatrix writes them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from layertune.models import ModelShape

Rows = NDArray[np.float32]


def write_imatrix(path: Path, sums: Mapping[str, Rows], counts: Mapping[str, Rows]) -> None:
    """Write sums of shape (matrices, columns) and counts of shape (matrices, 1), by tensor."""
    writer = GGUFWriter(path, "imatrix")
    for name, rows in sums.items():
        writer.add_tensor(f"{name}.in_sum2", rows)
        writer.add_tensor(f"{name}.counts", counts[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_even_imatrix(path: Path, shape: ModelShape) -> None:
    """Write a matrix for every weight of a model; all columns are alike."""
    weights = [tensor for tensor in shape.tensors if len(tensor.shape) == 2]
    ones = np.ones((1, 1), np.float32)
    write_imatrix(
        path,
        {tensor.name: np.ones((1, tensor.shape[0]), np.float32) for tensor in weights},
        {tensor.name: ones for tensor in weights},
    )
