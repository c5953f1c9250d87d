"""GGUF files: their headers, the shapes of their models, and stand-ins of the same shape with random weights."""

from layertune.models.files import ModelFiles, file_sha256
from layertune.models.shape import ModelShape, TensorInfo, read_shape
from layertune.models.shape_cache import cached_shape
from layertune.models.text_generation import check_generates

__all__ = ["ModelFiles", "ModelShape", "TensorInfo", "cached_shape", "check_generates", "file_sha256", "read_shape"]
