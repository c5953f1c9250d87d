"""Which file the others are compared with."""

from dataclasses import replace
from pathlib import Path

from layertune.models.quantization import REQUANTIZED_KEY
from layertune.quality import best_file
from small_shapes import shape


def test_the_reference_is_the_largest_file_of_the_largest_model() -> None:
    small, large = shape(n_layer=4), shape(n_layer=8)
    files = {"small-q8": (small, 900), "large-q4": (large, 700), "large-q6": (large, 800)}
    shapes = [replace(each, files=(Path(name),), file_bytes=size) for name, (each, size) in files.items()]
    assert best_file(shapes) == Path("large-q6")


def test_an_output_layer_of_its_own_makes_no_larger_model() -> None:
    tied, untied = shape(tied=True), shape()
    shapes = [
        replace(tied, files=(Path("tied"),), file_bytes=9),
        replace(untied, files=(Path("untied"),), file_bytes=8),
    ]
    assert best_file(shapes) == Path("tied")


def test_a_requantized_file_is_not_better_than_the_one_that_it_was_made_from() -> None:
    source, made = replace(shape(), files=(Path("q4"),), file_bytes=400), shape()
    marked = {**made.metadata, REQUANTIZED_KEY: "Q4_1"}
    larger = replace(made, files=(Path("q8"),), file_bytes=800, metadata=marked)
    assert best_file([source, larger]) == Path("q4")
    assert best_file([larger]) == Path("q8")
