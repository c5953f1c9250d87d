"""Model files that are not the ones that a study measured."""

from collections.abc import Iterator
from pathlib import Path

from layertune.config import CONFIG_NAME, load_config
from layertune.errors import LayertuneError, ModelFileError
from layertune.models import file_sha256
from layertune.models.shape import part_files
from layertune.regular_files import is_file
from layertune.results.result import Result
from layertune.results.study_info import ModelInfo


def other_files(folder: Path, result: Result) -> Iterator[str]:
    """Yield a sentence for each model whose file, where the study's folder says it is, was replaced since."""
    if not is_file(folder / CONFIG_NAME):
        return
    try:
        paths = load_config(folder / CONFIG_NAME).paths
    except LayertuneError:
        return  # commands that read the config say what is wrong with it
    for key, model in result.variants().items():
        if key in paths and (changed := _changed(paths[key], model)) is not None:
            yield f"{key}: {changed} is not the file that the study measured; search again to tune for this one"


def _changed(path: Path, model: ModelInfo) -> Path | None:
    """Return the first part here with other contents than the study's; what is not here has none."""
    sha256 = [model.sha256, *(model.further_sha256 or ())]
    there = [(file, digest) for file, digest in zip(part_files(path), sha256, strict=False) if is_file(file)]
    try:
        return next((file for file, digest in there if file_sha256(file) != digest), None)
    except ModelFileError:
        return None
