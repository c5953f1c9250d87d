"""A cache of model shapes: reading a header with 150,000 words takes longer than everything else in a command."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layertune.models.disk_cache import add_entries, cache_folder, read_entries, unchanged_key
from layertune.models.shape import ModelShape, TensorInfo, part_files, read_shape

_VERSION = 2  # changes when the form of an entry does


def cached_shape(path: Path, cache: Path | None = None) -> ModelShape:
    """Return the model's shape as `read_shape` does, from the cache if none of its files has changed.

    Raises:
        ModelFileError: a file is missing, damaged, or no model.
    """
    folder = (cache or cache_folder()) / "shapes"
    try:
        store = folder / f"{hashlib.sha256(f'{_VERSION} {unchanged_key(part_files(path))}'.encode()).hexdigest()}.json"
        entry = read_entries(store)
        if entry:
            return _shape(entry, path)
    except (OSError, ValueError, KeyError, TypeError):
        return read_shape(path)  # its error says what is wrong
    shape = read_shape(path)
    add_entries(store, _entry(shape))
    return shape


def _entry(shape: ModelShape) -> dict[str, Any]:
    return {
        "n_files": len(shape.files),
        "architecture": shape.architecture,
        "name": shape.name,
        "quantization": shape.quantization,
        "file_bytes": shape.file_bytes,
        "n_layer": shape.n_layer,
        "n_embd": shape.n_embd,
        "n_ctx_train": shape.n_ctx_train,
        "tensors": [[each.name, each.shape, each.type, each.n_bytes, each.file] for each in shape.tensors],
        "metadata": dict(shape.metadata),
    }


def _shape(entry: dict[str, Any], path: Path) -> ModelShape:
    tensors: Sequence[Any] = entry.pop("tensors")
    n_files = entry.pop("n_files")
    return ModelShape(
        files=(path,) if n_files == 1 else tuple(part_files(path)),
        tensors=tuple(
            TensorInfo(name, tuple(shape), type_name, n_bytes, file)
            for name, shape, type_name, n_bytes, file in tensors
        ),
        **entry,
    )
