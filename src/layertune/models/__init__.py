"""What a GGUF file is: its header, the shape of its model, and stand-ins of the same shape."""

from layertune.models.digest import file_sha256
from layertune.models.files import ModelFiles
from layertune.models.generation import check_generates
from layertune.models.remembered import remembered_shape
from layertune.models.shape import ModelShape, TensorInfo, read_shape

__all__ = ["ModelFiles", "ModelShape", "TensorInfo", "check_generates", "file_sha256", "read_shape", "remembered_shape"]
