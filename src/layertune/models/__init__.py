"""GGUF files: their headers, the shapes of their models, and stand-ins of the same shape with random weights."""

from layertune.models.files import ModelFiles, file_sha256
from layertune.models.kinds import is_causal, model_pooling
from layertune.models.shape import ModelShape, TensorInfo, read_shape
from layertune.models.shape_cache import cached_shape

__all__ = [
    "ModelFiles",
    "ModelShape",
    "TensorInfo",
    "cached_shape",
    "file_sha256",
    "is_causal",
    "model_pooling",
    "read_shape",
]
