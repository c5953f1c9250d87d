from dataclasses import replace
from pathlib import Path

import pytest

from layertune.errors import UsageError
from layertune.models import read_shape
from layertune.models.ggml_types import FILE_TYPE_NUMBERS
from layertune.models.known_models import KnownModel
from layertune.models.quantization import (
    FILE_TYPES_OFFERED,
    REQUANTIZED_KEY,
    find_types,
    quantized_path,
    requantized_from,
)
from layertune.models.standin import known_standin

TINY = KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)


def test_types_are_found_whatever_their_case_each_once() -> None:
    assert find_types("q4_k_m, IQ4_XS,Q4_K_M") == ("Q4_K_M", "IQ4_XS")
    assert set(FILE_TYPES_OFFERED) <= set(FILE_TYPE_NUMBERS)


@pytest.mark.parametrize("written", ["Q4_K_M,Q9", "", "Q4_K_M,"])
def test_an_unknown_type_is_refused_with_the_list_of_types(written: str) -> None:
    with pytest.raises(UsageError, match=r"is no type of a file; choose among Q8_0, Q6_K, .*IQ2_XXS"):
        find_types(written)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("m.gguf", "m-Q3_K_M.gguf"),
        ("gemma-3-270m-q4_k_m.gguf", "gemma-3-270m-Q3_K_M.gguf"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct-Q3_K_M.gguf"),
        ("Qwen2.5-7B-F16-00001-of-00003.gguf", "Qwen2.5-7B-Q3_K_M.gguf"),
        ("model.bin", "model.bin-Q3_K_M.gguf"),
    ],
)
def test_a_file_is_called_like_its_source_and_its_type(source: str, name: str) -> None:
    assert quantized_path(Path("from") / source, "Q3_K_M", Path("to")) == Path("to") / name


def test_a_file_says_what_it_was_quantized_from_however_often(tmp_path: Path) -> None:
    known_standin(TINY).write(tmp_path / "a.gguf")
    shape = read_shape(tmp_path / "a.gguf")
    assert requantized_from(shape) == "Q4_K_M"
    again = replace(shape, quantization="Q3_K_M", metadata={REQUANTIZED_KEY: "Q4_K_M"})
    assert requantized_from(again) == "Q4_K_M, then Q3_K_M"
    assert requantized_from(replace(shape, quantization=None)) == "Q4_K, Q6_K"
    floats = tuple(replace(tensor, type="F16") for tensor in shape.tensors)
    assert requantized_from(replace(shape, tensors=floats)) is None
