from pathlib import Path

import numpy as np
import pytest

from imatrix_files import write_imatrix
from layertune.errors import ModelFileError
from layertune.models.imatrix import read_imatrix
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin


def test_each_matrix_is_divided_by_its_count_and_is_even_where_nothing_was_counted(tmp_path: Path) -> None:
    sums = {"a": np.array([[2, 4, 6]], np.float32), "e": np.array([[3, 6], [0, 0]], np.float32)}
    counts = {"a": np.array([[2]], np.float32), "e": np.array([[3], [0]], np.float32)}
    write_imatrix(tmp_path / "i.gguf", sums, counts)
    found = read_imatrix(tmp_path / "i.gguf")
    assert {name: values.tolist() for name, values in found.items()} == {"a": [1, 2, 3], "e": [1, 2, 1, 1]}


def test_other_files_are_refused_with_what_converts_the_older_format(tmp_path: Path) -> None:
    known_standin(KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)).write(tmp_path / "a.gguf")
    with pytest.raises(ModelFileError, match="is no importance matrix in GGUF; give a file of llama-imatrix"):
        read_imatrix(tmp_path / "a.gguf")
    (tmp_path / "a.dat").write_bytes(b"\x02" * 64)
    with pytest.raises(ModelFileError, match=r"is not a GGUF file: .*; give a file of llama-imatrix; it converts"):
        read_imatrix(tmp_path / "a.dat")
