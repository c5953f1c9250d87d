from dataclasses import replace
from pathlib import Path

import pytest

from finished_study import result
from layertune.errors import ConfigError, ResultFileError
from layertune.models import ModelShape
from layertune.results.result import Result, write_result
from layertune.study.prior import read_prior
from small_shapes import shape


def written(folder: Path, study: Result) -> Path:
    write_result(study, folder / "result.json")
    return folder


def alike(study: Result) -> dict[str, ModelShape]:
    return {name: shape(model.architecture, n_layer=model.n_layer) for name, model in study.models.items()}


def test_every_measured_trial_tells_of_each_of_its_models(tmp_path: Path) -> None:
    study = result()
    found = read_prior(written(tmp_path, study), alike(study))
    measured = [trial for trial in study.trials if trial.metrics is not None]
    assert {name: len(observations) for name, observations in found.items()} == dict.fromkeys(
        study.models, len(measured)
    )
    engine, samples = found["chat"][0]
    assert engine.n_gpu_layers == measured[0].settings["chat"].n_gpu_layers
    assert list(samples.tg_tokens_per_s) == (measured[0].metrics or {})["chat"]["tg_tokens_per_s"].samples


def test_a_model_of_another_shape_tells_nothing(tmp_path: Path) -> None:
    study = result()
    shapes = alike(study)
    shapes["code"] = replace(shapes["code"], n_layer=99)
    assert read_prior(written(tmp_path, study), shapes).keys() == {"chat"}


def test_a_study_of_none_of_the_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"search\.warm_start: .* measured none of these models; give a study of models"
    ):
        read_prior(written(tmp_path, result()), {"third": shape()})


def test_a_study_that_timed_no_sampling_is_refused(tmp_path: Path) -> None:
    older = result().study.model_copy(update={"generation": "decode"})
    with pytest.raises(ConfigError, match="is of an older layertune, which timed no sampling; search once more"):
        read_prior(written(tmp_path, result().model_copy(update={"study": older})), {"chat": shape()})


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="cannot read"):
        read_prior(tmp_path / "missing", {})
