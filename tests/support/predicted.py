"""A prediction that tests fill in."""

from finished_study import result
from layertune.prediction import Prediction
from layertune.prediction.prediction_file import CardInfo, ErrorInfo


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
        error=ErrorInfo(level=0.9, n_splits=9, median=0.1, coverage=0.9, held_back=[]),
        front=[],
        picks={},
        limits=[],
    )
