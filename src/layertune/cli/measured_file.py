"""Whether a model here is the one that a study measured, by all that a plan depends on."""

from layertune.models import ModelShape
from layertune.results.result import ModelInfo


def is_measured_file(shape: ModelShape, model: ModelInfo, *, hollow: bool = False) -> bool:
    """Say whether the shape can be that of the study's model; `hollow` where it is a known model's and no file's, whose
    metadata, and so its size, is its own."""
    same = (shape.architecture, shape.n_layer) == (model.architecture, model.n_layer)
    return same and (hollow or shape.file_bytes == model.file_bytes)
