"""Files that are made by a llama.cpp which fails, or is interrupted, as each test needs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from layertune.devices.quantization_process import Order
from layertune.errors import ModelFileError, UsageError
from layertune.models import read_shape
from layertune.models.known_models import KnownModel
from layertune.models.quantization import REQUANTIZED_KEY, Mixture
from layertune.models.standin import known_standin
from layertune.study import quantized
from layertune.study.quantized import plan_quantization

TINY = KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model; llama.cpp would give each tensor the type that it has, and needs a matrix for IQ2_M."""
    path = tmp_path / "tiny-F16.gguf"
    known_standin(TINY).write(path)
    types = {tensor.name: tensor.type for tensor in read_shape(path).tensors}
    monkeypatch.setattr(
        quantized,
        "ask_mixtures",
        lambda _path, names, _imatrix: [Mixture(name, types, name == "IQ2_M", 0) for name in names],
    )
    return path


def never(_n: int, _of: int) -> None:
    raise AssertionError


def test_an_interrupted_file_leaves_nothing_and_the_file_before_it_stays(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source.parent / "tiny-Q3_K_M.gguf").write_text("mine")

    def interrupted(order: Order, _on_progress: Callable[[int, int], None]) -> None:
        assert order.output is not None
        order.output.write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(quantized, "quantize", interrupted)
    plan = plan_quantization(source, ["Q3_K_M"], None, None, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        plan.write(plan.files[0], never)
    assert sorted(path.name for path in source.parent.iterdir()) == ["tiny-F16.gguf", "tiny-Q3_K_M.gguf"]
    assert (source.parent / "tiny-Q3_K_M.gguf").read_text() == "mine"


def test_a_half_file_that_llama_cpp_calls_complete_is_not_kept(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(order: Order, _on_progress: Callable[[int, int], None]) -> None:
        assert order.output is not None
        assert order.notes == {REQUANTIZED_KEY: "Q4_K_M"}
        order.output.write_bytes(source.read_bytes()[:-4096])

    monkeypatch.setattr(quantized, "quantize", half)
    plan = plan_quantization(source, ["Q3_K_M"], None, None, overwrite=False)
    with pytest.raises(ModelFileError, match="is truncated"):
        plan.write(plan.files[0], never)
    assert list(source.parent.iterdir()) == [source]


def test_a_file_that_is_there_or_is_the_source_is_refused_before_anything_is_written(source: Path) -> None:
    (source.parent / "tiny-Q3_K_M.gguf").write_text("mine")
    with pytest.raises(ModelFileError, match=r"tiny-Q3_K_M\.gguf exists already"):
        plan_quantization(source, ["Q4_K_M", "Q3_K_M"], None, None, overwrite=False)
    same = source.rename(source.with_name("tiny-Q4_K_M.gguf"))
    with pytest.raises(UsageError, match="is read by this command"):
        plan_quantization(same, ["Q4_K_M"], None, None, overwrite=True)


def test_a_type_that_needs_an_importance_matrix_is_refused_in_one_sentence(source: Path) -> None:
    with pytest.raises(UsageError, match="IQ2_M of this model needs an importance matrix; give one with --imatrix"):
        plan_quantization(source, ["Q4_K_M", "IQ2_M"], None, None, overwrite=False)


def test_the_disk_is_checked_for_all_files_together(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = source.stat().st_size * 3 // 2
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    plan_quantization(source, ["Q4_K_M"], None, None, overwrite=False)
    with pytest.raises(ModelFileError, match=r"tiny-Q4_K_M.gguf, \S*tiny-Q3_K_M.gguf: .* are needed, and the disk has"):
        plan_quantization(source, ["Q4_K_M", "Q3_K_M"], None, None, overwrite=False)
