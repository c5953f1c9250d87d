"""Measurements of the same models by another study, which a search begins with (`search.warm_start`)."""

from collections.abc import Mapping
from pathlib import Path

from layertune.errors import ConfigError
from layertune.models import ModelShape
from layertune.regular_files import RESULT_BYTES, is_folder, read_text
from layertune.results.result import FILE_NAME, Result, read_result, write_study_file
from layertune.sampler.observations import observations
from layertune.sampler.posterior import Observation
from layertune.settings import model_and_file

COPY_NAME = "warm_start.json"


def copy_prior(study: Path, folder: Path) -> None:
    """Copy the other study's result into the folder, so that a resumed search begins with the same one."""
    source = study / FILE_NAME if is_folder(study) else study
    write_study_file(folder / COPY_NAME, read_text(source, RESULT_BYTES))


def read_prior(study: Path, shapes: Mapping[str, ModelShape]) -> dict[str, list[Observation]]:
    """Return, by model, what `study` measured of models with the same name, architecture and number of layers.

    Raises:
        ResultFileError: the study cannot be read.
        ConfigError: it measured none of these models, or timed no sampling.
    """
    result = read_result(study)
    if result.study.generation != "sampled":
        raise ConfigError(
            f"search.warm_start: {study} is of an older layertune, which timed no sampling",
            remedy="search once more without search.warm_start, and give the new study",
        )
    alike = [name for key, shape in shapes.items() if _is_alike(result, name := model_and_file(key)[0], shape)]
    found = {name: observations(result, name) for name in dict.fromkeys(alike)}
    if not any(found.values()):
        raise ConfigError(
            f"search.warm_start: {study} measured none of these models",
            remedy="give a study of models with the same names, architectures and layers",
        )
    return found


def _is_alike(result: Result, name: str, shape: ModelShape) -> bool:
    models = [model for key, model in result.variants().items() if model_and_file(key)[0] == name]
    return (shape.architecture, shape.n_layer) in [(each.architecture, each.n_layer) for each in models]
