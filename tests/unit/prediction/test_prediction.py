from pathlib import Path

import pytest

from finished_study import result
from layertune.errors import ResultFileError
from layertune.prediction import Prediction, load_prediction
from layertune.prediction.prediction import CardInfo, ErrorInfo, is_prediction, prediction_json


def prediction(file: str) -> Prediction:
    """Return a prediction without a front, of a study whose model files have this name."""
    study = result(file)
    return Prediction(
        layertune_version="0.1.0",
        study=study.study,
        hardware=study.hardware,
        card=CardInfo(profile="x", kind="emulated", name="emulated card", vram_bytes=2**32, n_threads=2),
        models=study.models,
        workload=study.workload,
        budget=study.budget,
        changes={},
        scaled="nothing",
        error=ErrorInfo(level=0.9, n_splits=9, median=0.1, coverage=0.9, layers_off={}, held_back=[]),
        front=[],
        picks={},
        limits=[],
    )


@pytest.mark.parametrize("file", ["a.gguf", "å.gguf", "\udce5.gguf"])  # the last is a byte that is no UTF-8
def test_a_prediction_is_the_same_from_its_file(tmp_path: Path, file: str) -> None:
    path = tmp_path / "predicted.json"
    path.write_text(prediction_json(prediction(file)), encoding="ascii")
    assert is_prediction(path)
    assert load_prediction(path) == prediction(file)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not JSON"), ("[]", "is no prediction"), ("{}", "is no prediction")]
)
def test_what_is_no_prediction_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "predicted.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ResultFileError, match=words):
        load_prediction(path)
    with pytest.raises(ResultFileError, match="cannot read"):
        load_prediction(tmp_path / "none.json")
