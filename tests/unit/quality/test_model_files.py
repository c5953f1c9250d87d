"""Which file the others are compared with."""

from dataclasses import replace
from pathlib import Path

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
