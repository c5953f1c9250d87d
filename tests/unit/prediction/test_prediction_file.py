from pathlib import Path

import pytest

from layertune.errors import ResultFileError
from layertune.prediction import load_prediction
from layertune.prediction.prediction_file import is_prediction, prediction_json
from predicted import prediction


@pytest.mark.parametrize("file", ["a.gguf", "å.gguf", "\udce5.gguf"])  # the last is a byte that is no UTF-8
def test_a_prediction_is_the_same_from_its_file(tmp_path: Path, file: str) -> None:
    path = tmp_path / "predicted.json"
    path.write_text(prediction_json(prediction(file)), encoding="ascii")
    assert is_prediction(path)
    assert load_prediction(path) == prediction(file)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not JSON"), ("[]", "is not a prediction"), ("{}", "is not a prediction")]
)
def test_another_file_is_refused_with_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "predicted.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ResultFileError, match=words):
        load_prediction(path)
    with pytest.raises(ResultFileError, match="cannot read"):
        load_prediction(tmp_path / "none.json")
